"""Dispatch of videos and volumes, by suffix or content."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.volumes.read import SUFFIXES, is_volume
from fcnjax.errors import UserError
from fcnjax.inference.items import InputItem, Written
from fcnjax.inference.media.predict_video import predict_video
from fcnjax.inference.media.predict_volume import predict_volume
from fcnjax.inference.media.video_reader import VIDEO_SUFFIXES
from fcnjax.inference.request import Predictor


class MediaType(NamedTuple):
    """A kind of file that is not an image.

    Attributes:
        name: Name for messages.
        matches: Whether a path is a file of this kind.
        predict: `predict(predictor, item, out, show_progress)`, as `predict_video`.
    """

    name: str
    matches: Callable[[Path], bool]
    predict: Callable[[Predictor, InputItem, Path, bool], Written]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_volume(path: Path) -> bool:
    return path.suffix.lower() not in IMAGE_SUFFIXES and is_volume(path)


VIDEO = MediaType("a video", _is_video, predict_video)
VOLUME = MediaType("a volume", _is_volume, predict_volume)
MEDIA_TYPES = (VIDEO, VOLUME)  # the first match applies
# Suffixes of the files in a folder that are predicted, besides DICOM series.
INPUT_SUFFIXES = (*sorted(IMAGE_SUFFIXES), *VIDEO_SUFFIXES, *SUFFIXES)


def detect_media_type(source: str) -> MediaType | None:
    """Return the type of a file or a folder with a DICOM series; None for an image or a raster."""
    path = Path(source)
    return next((media for media in MEDIA_TYPES if media.matches(path)), None)


def reject_media(sources: Iterable[str]) -> None:
    """Raise UserError for the first video or volume, which the Ray runner does not support."""
    for source in sources:
        if (media := detect_media_type(source)) is not None:
            raise UserError(
                f"{source}: is {media.name}, which needs --runner=local; for ray give the images "
                "of a folder as a glob, such as DIR/*.png"
            )
