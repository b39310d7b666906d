"""Labels a video: the overlay as a video to look at, the mask as one without loss."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fcnjax.errors import UserError
from fcnjax.inference.errors import outputs_of
from fcnjax.inference.media.batches import label_in_batches
from fcnjax.inference.media.video import Frame, VideoReader, VideoWriter
from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.coco import coco_file
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.outputs.table import share_of_16_bits
from fcnjax.inference.postprocess import confidence, entropy
from fcnjax.inference.request import Predictor
from fcnjax.inference.runners.local import Item, Outcome
from fcnjax.io.atomic_files import atomic
from fcnjax.io.pictures import overlay
from fcnjax.io.progress import ProgressBar

# Of each output the ending, and the picture of a frame.
Picture = Callable[[Frame, Prediction, np.ndarray], np.ndarray]
VIDEO_OUTPUTS: dict[str, tuple[str, Picture]] = {
    "mask": ("_mask.mkv", lambda frame, found, palette: found.mask),
    "overlay": (
        "_overlay.mp4",
        lambda frame, found, palette: overlay(frame.pixels, found.mask, palette),
    ),
    "confidence": (
        "_confidence.mkv",
        lambda frame, found, palette: share_of_16_bits(confidence(found.probabilities, found.mask)),
    ),
    "entropy": (
        "_entropy.mkv",
        lambda frame, found, palette: share_of_16_bits(entropy(found.probabilities)),
    ),
}


def label_video(predictor: Predictor, item: Item, out: Path, alone: bool) -> Outcome:
    """Labels a video, and writes one for each output that is asked for and is in `VIDEO_OUTPUTS`.

    `components` are one file, whose images are the frames, numbered from 0.

    Args:
        predictor: What labels, and knows which outputs.
        item: The video.
        out: The folder that the outputs go to.
        alone: Whether there is but one, whose frames are counted on the terminal.

    Returns:
        What became of it; where it cannot be read, an error, and no files.

    Raises:
        UserError: A file cannot be written, or an option does not go with a video.
    """
    start = time.perf_counter()
    valid = (*VIDEO_OUTPUTS, "components")
    outputs = outputs_of(item.source, "a video", predictor.request.outputs, valid)
    channels = predictor.model.config.data.channels
    if channels not in ("RGB", "L"):
        raise UserError(f"{item.source}: video is RGB, and the model takes the bands {channels}")
    endings = {name: ending for name, (ending, _) in VIDEO_OUTPUTS.items()}
    endings["components"] = ENDINGS["components"]
    paths = {name: out / f"{item.id}{endings[name]}" for name in outputs}
    try:
        size, count = _label(predictor, item, paths, alone)
    except UserError as error:
        return Outcome(item, None, None, str(error), time.perf_counter() - start)
    seconds = time.perf_counter() - start
    words = f"{count} frames of {size[1]}x{size[0]} labelled, {count / seconds:.1f} frames/s"
    print(f"{item.source}: {words}")
    return Outcome(item, size, paths["mask"].name if "mask" in paths else None, None, seconds)


def _label(
    predictor: Predictor, item: Item, paths: dict[str, Path], alone: bool
) -> tuple[tuple[int, int], int]:
    """Writes the outputs; returns the frames' height and width, and how many there were."""
    grey = predictor.model.config.data.channels == "L"
    palette, names = predictor.model.palette, predictor.model.class_names
    writers: dict[str, VideoWriter] = {}
    size, count = (0, 0), 0

    def pixels(frame: Frame) -> np.ndarray:
        return np.asarray(Image.fromarray(frame.pixels).convert("L")) if grey else frame.pixels

    with contextlib.closing(VideoReader(item.source)) as video, contextlib.ExitStack() as files:
        add_regions = None
        if "components" in paths:
            stem = item.id.rpartition("/")[-1]
            add_regions = files.enter_context(coco_file(paths["components"], names, stem))
        temporary = {
            name: files.enter_context(atomic(path))
            for name, path in paths.items()
            if name in VIDEO_OUTPUTS
        }
        tally = files.enter_context(ProgressBar(video.count, unit="frames", bar=alone))

        def write(frame: Frame, found: Prediction) -> None:
            nonlocal size, count
            for name, path in temporary.items():
                picture = VIDEO_OUTPUTS[name][1](frame, found, palette)
                if name not in writers:
                    writers[name] = files.enter_context(VideoWriter(path, video, picture))
                writers[name].write(picture, frame.time)
            if add_regions is not None:
                add_regions(count, found.mask, time=float(frame.time * video.time_base))
            size, count = frame.pixels.shape[:2], count + 1
            tally.add(1, 0)

        label_in_batches(predictor, item.source, video, pixels, write)
    return size, count
