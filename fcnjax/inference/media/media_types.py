"""What is no picture and goes a way of its own: videos and volumes, by name or what they hold."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.volumes.read import SUFFIXES, is_volume
from fcnjax.errors import UserError
from fcnjax.inference.media.clips import label_video
from fcnjax.inference.media.scans import label_volume
from fcnjax.inference.media.video import VIDEO_SUFFIXES
from fcnjax.inference.request import Predictor
from fcnjax.inference.runners.local import Item, Outcome


class MediaType(NamedTuple):
    """A form of file.

    Attributes:
        name: What it is called.
        label: `label(predictor, item, out, alone)` labels one, as `label_video` does.
    """

    name: str
    label: Callable[[Predictor, Item, Path, bool], Outcome]


VIDEO = MediaType("a video", label_video)
VOLUME = MediaType("a volume", label_volume)
# What a folder stands for, beside the DICOM series in it.
LISTED = (*sorted(IMAGE_SUFFIXES), *VIDEO_SUFFIXES, *SUFFIXES)


def form_of(source: str) -> MediaType | None:
    """The form of a file, or of a folder with a DICOM series; None: a picture or a raster."""
    suffix = Path(source).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return VIDEO
    if suffix not in IMAGE_SUFFIXES and is_volume(Path(source)):
        return VOLUME
    return None


def refuse_forms(sources: Iterable[str]) -> None:
    """Raises UserError for the first that is no picture, which Ray's workers do not take."""
    for source in sources:
        if (form := form_of(source)) is not None:
            raise UserError(
                f"{source}: is {form.name}, which needs --runner=local; for ray give the images of "
                "a folder as a glob, such as DIR/*.png"
            )
