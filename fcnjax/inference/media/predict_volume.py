"""Prediction of a volume slice by slice, written in the geometry of the input."""

import contextlib
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.readers.volumes.orientation import Reorientation, orientation_of
from fcnjax.data.readers.volumes.read import SliceReader, open_volume
from fcnjax.inference.items import InputItem, Written
from fcnjax.inference.media.batches import predict_in_batches
from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.coco import coco_file
from fcnjax.inference.outputs.image_outputs import OUTPUTS
from fcnjax.inference.outputs.image_writers import SCORES
from fcnjax.inference.request import Predictor
from fcnjax.io.atomic_files import atomic
from fcnjax.io.progress import ProgressBar

GZIP_LEVEL = 6
# The function that makes a slice of each output.
VOLUME_OUTPUTS: dict[str, Callable[[Prediction], np.ndarray]] = {
    "mask": lambda prediction: prediction.mask,
    **SCORES,
}


def predict_volume(
    predictor: Predictor, item: InputItem, out: Path, show_progress: bool
) -> Written:
    """Predict the slices of a NIfTI file or a DICOM series along `config.data.nifti.axis`.

    Slices are read as in training, from the volume in `config.data.nifti.orientation`. Each
    requested output in `VOLUME_OUTPUTS` is written to `NAME_OUTPUT.nii.gz` with the shape, affine
    and units of the stored volume. `components` is one file, whose images are the slices of the
    reoriented volume, numbered from 0.

    Args:
        predictor: The predictor.
        item: The volume.
        out: The output folder.
        show_progress: Whether to show the number of slices on a terminal.

    Returns:
        The size of a slice, and the mask file.

    Raises:
        UserError: The volume cannot be read, a file cannot be written, or an option or the model
            does not apply to volumes.
    """
    start = time.perf_counter()
    valid = (*VOLUME_OUTPUTS, "components")
    outputs = predictor.request.select_outputs(item.source, "a volume", valid)
    regions = contextlib.nullcontext()
    if "components" in outputs:
        path = out / f"{item.id}{OUTPUTS['components'].suffix}"
        regions = coco_file(path, predictor.model.class_names, item.id.rpartition("/")[-1])
    data = predictor.model.config.data
    reading, orientation = SliceReader(data), data.nifti.orientation
    header = open_volume(Path(item.source))
    turn = reading.reorientation(Path(item.source))
    with regions as add_regions:
        volumes = _predict(
            predictor, item.source, reading, header.shape, add_regions, show_progress
        )
    for name, voxels in volumes.items():
        _write(out / f"{item.id}_{name}.nii.gz", voxels, header)
    size = list(turn.shape(header.shape))
    count = size.pop(reading.axis)
    speed = f"{count} slices predicted, {count / (time.perf_counter() - start):.1f} slices/s"
    print(f"{item.source}: {speed}; {_describe_axes(header, turn, orientation)}")
    return tuple(size), f"{item.id}_mask.nii.gz" if "mask" in outputs else None


def _predict(
    predictor: Predictor,
    source: str,
    reading: SliceReader,
    shape: tuple[int, ...],
    add_regions: Callable[[int, np.ndarray], None] | None,
    show_progress: bool,
) -> dict[str, np.ndarray]:
    """Return the output volumes by name; write the regions of each slice as it is predicted."""
    outputs = [name for name in predictor.request.outputs if name in VOLUME_OUTPUTS]
    types = dict.fromkeys(outputs, np.float32) | {"mask": predictor.model.mask_dtype}
    volumes = {name: np.zeros(shape, types[name]) for name in outputs}
    turn = reading.reorientation(Path(source))
    positions = range(turn.shape(shape)[reading.axis])
    slices = ((position, reading.image(Path(source), position)) for position in positions)

    with ProgressBar(len(positions), unit="slices", bar=show_progress) as progress:

        def store(item: tuple[int, np.ndarray], prediction: Prediction) -> None:
            position, _ = item
            for name, voxels in volumes.items():
                # A view of the reoriented volume, so that the slice is stored in the file's own
                # orientation. Some files have a fourth axis, which the view lacks.
                view = np.moveaxis(turn.apply(voxels.reshape(shape[:3])), reading.axis, 0)
                view[position] = VOLUME_OUTPUTS[name](prediction)
            if add_regions is not None:
                add_regions(position, prediction.mask)
            progress.add(1)

        predict_in_batches(predictor, source, slices, lambda item: item[1], store)
    return volumes


def _describe_axes(volume: Any, turn: Reorientation, orientation: str | None) -> str:
    """Describe the directions of the axes of a volume, and its reorientation."""
    axes = orientation_of(volume, "")
    if axes is None:
        taken = f", and is taken as {orientation}" if orientation else ""
        return f"its orientation is not recorded{taken}"
    turned = f", turned to {', '.join(orientation)} and back" if turn != Reorientation() else ""
    return f"axes to {', '.join(axes)}{turned}"


def _write(path: Path, voxels: np.ndarray, like: Any) -> None:
    """Write a volume with the header of another, without its display range."""
    header = like.header.copy()
    header.set_data_dtype(voxels.dtype)
    header["cal_min"] = header["cal_max"] = 0
    image = type(like)(voxels, like.affine, header)
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), GZIP_LEVEL, mtime=0))
