"""Prediction of a video: an overlay to watch, and lossless masks."""

import contextlib
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fcnjax.errors import UserError
from fcnjax.inference.ensemble import Ensemble
from fcnjax.inference.items import InputItem, Written
from fcnjax.inference.media.batches import predict_in_batches
from fcnjax.inference.media.video_reader import Frame, VideoReader
from fcnjax.inference.media.video_writer import VideoWriter
from fcnjax.inference.model import Model, Prediction
from fcnjax.inference.outputs.coco import coco_file
from fcnjax.inference.outputs.image_outputs import OUTPUTS
from fcnjax.inference.outputs.image_writers import SCORES, to_uint16
from fcnjax.inference.request import Predictor
from fcnjax.io.atomic_files import atomic
from fcnjax.io.pictures import overlay
from fcnjax.io.progress import ProgressBar

# Suffix of each output; all but components are videos.
OUTPUT_SUFFIXES = {
    "mask": "_mask.mkv",
    "overlay": "_overlay.mp4",
    "confidence": "_confidence.mkv",
    "entropy": "_entropy.mkv",
    "components": OUTPUTS["components"].suffix,
}


def _frame_image(
    name: str, frame: Frame, prediction: Prediction, model: Model | Ensemble
) -> np.ndarray:
    """Return the image of an output for one frame."""
    if name == "mask":
        return prediction.mask
    if name == "overlay":
        return overlay(frame.pixels, prediction.mask, model.class_names, model.palette)
    return to_uint16(SCORES[name](prediction))


def predict_video(predictor: Predictor, item: InputItem, out: Path, show_progress: bool) -> Written:
    """Predict a video and write a file for each requested output in `OUTPUT_SUFFIXES`.

    The images of `components` are the frames, numbered from 0.

    Args:
        predictor: The predictor.
        item: The video.
        out: The output folder.
        show_progress: Whether to show the number of frames on a terminal.

    Raises:
        UserError: The video cannot be read, a file cannot be written, or an option does not apply
            to videos. No files are written.
    """
    start = time.perf_counter()
    outputs = predictor.request.select_outputs(item.source, "a video", tuple(OUTPUT_SUFFIXES))
    channels = predictor.model.config.data.channels
    if channels not in ("RGB", "L"):
        raise UserError(f"{item.source}: video is RGB, and the model takes the bands {channels}")
    paths = {name: out / f"{item.id}{OUTPUT_SUFFIXES[name]}" for name in outputs}
    size, count = _predict(predictor, item, paths, show_progress)
    seconds = time.perf_counter() - start
    print(
        f"{item.source}: {count} frames of {size[1]}x{size[0]} predicted, "
        f"{count / seconds:.1f} frames/s"
    )
    return size, paths["mask"].name if "mask" in paths else None


def _predict(
    predictor: Predictor, item: InputItem, paths: dict[str, Path], show_progress: bool
) -> tuple[tuple[int, int], int]:
    """Write the outputs; return the height and width of the frames, and their number."""
    model = predictor.model
    is_grey = model.config.data.channels == "L"
    writers: dict[str, VideoWriter] = {}
    size, count = (0, 0), 0

    def pixels(frame: Frame) -> np.ndarray:
        if is_grey:
            return np.asarray(Image.fromarray(frame.pixels).convert("L"))
        return frame.pixels

    with contextlib.closing(VideoReader(item.source)) as video, contextlib.ExitStack() as files:
        add_regions = None
        if "components" in paths:
            stem = item.id.rpartition("/")[-1]
            add_regions = files.enter_context(
                coco_file(paths["components"], model.class_names, stem)
            )
        temporary = {
            name: files.enter_context(atomic(path))
            for name, path in paths.items()
            if name != "components"
        }
        progress = files.enter_context(ProgressBar(video.count, unit="frames", bar=show_progress))

        def write(frame: Frame, prediction: Prediction) -> None:
            nonlocal size, count
            for name, path in temporary.items():
                image = _frame_image(name, frame, prediction, model)
                if name not in writers:
                    writers[name] = files.enter_context(VideoWriter(path, video, image))
                writers[name].write(image, frame.time)
            if add_regions is not None:
                add_regions(count, prediction.mask, time=float(frame.time * video.time_base))
            size, count = frame.pixels.shape[:2], count + 1
            progress.add(1)

        predict_in_batches(predictor, item.source, video, pixels, write)
    return size, count
