"""Labels a volume slice by slice, and writes volumes in the same place."""

import contextlib
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.readers.volumes.orientation import Reorientation, orientation_of
from fcnjax.data.readers.volumes.read import SliceReader, open_volume
from fcnjax.errors import UserError
from fcnjax.inference.errors import outputs_of
from fcnjax.inference.media.batches import label_in_batches
from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.coco import coco_file
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.postprocess import confidence, entropy
from fcnjax.inference.request import Predictor
from fcnjax.inference.runners.local import Item, Outcome
from fcnjax.inference.runners.progress import ProgressBar
from fcnjax.io.atomic_files import atomic

LEVEL = 6  # of the compression
# What of a slice is written.
VOLUME_OUTPUTS: dict[str, Callable[[Prediction], np.ndarray]] = {
    "mask": lambda found: found.mask,
    "confidence": lambda found: confidence(found.probabilities, found.mask),
    "entropy": lambda found: entropy(found.probabilities),
}


def label_volume(predictor: Predictor, item: Item, out: Path, alone: bool) -> Outcome:
    """Labels the slices of a NIfTI file, or a DICOM series, along `config.data.axis`.

    They are read as in training, the volume turned to `config.data.orientation`. Writes
    `NAME_OUTPUT.nii.gz` for each output that is asked for and is in `VOLUME_OUTPUTS`, of the shape,
    affine and units of the volume as it is stored; `components` are one file, whose images are the
    slices of the turned volume, numbered from 0.

    Args:
        predictor: What labels, and knows which outputs.
        item: The volume.
        out: The folder that the outputs go to.
        alone: Whether there is but one, whose slices are counted on the terminal.

    Returns:
        What became of it, with the size of a slice; where it cannot be read, an error.

    Raises:
        UserError: A file cannot be written, or an option or the model does not go with volumes.
    """
    start = time.perf_counter()
    valid = (*VOLUME_OUTPUTS, "components")
    outputs = outputs_of(item.source, "a volume", predictor.request.outputs, valid)
    regions = contextlib.nullcontext()
    if "components" in outputs:
        path = out / f"{item.id}{ENDINGS['components']}"
        regions = coco_file(path, predictor.model.class_names, item.id.rpartition("/")[-1])
    data = predictor.model.config.data
    reading, orientation = SliceReader(data), data.orientation
    try:
        header = open_volume(Path(item.source))
        turn = reading.reorientation(Path(item.source))
        with regions as add_regions:
            layers = _label(predictor, item.source, reading, header.shape, add_regions, alone)
    except UserError as error:
        return Outcome(item, None, None, str(error), time.perf_counter() - start)
    for name, voxels in layers.items():
        _write(out / f"{item.id}_{name}.nii.gz", voxels, header)
    size = list(turn.shape(header.shape))
    count, seconds = size.pop(reading.axis), time.perf_counter() - start
    words = f"{count} slices labelled, {count / seconds:.1f} slices/s"
    print(f"{item.source}: {words}; {_axes(header, turn, orientation)}")
    mask = f"{item.id}_mask.nii.gz" if "mask" in outputs else None
    return Outcome(item, tuple(size), mask, None, seconds)


def _label(
    predictor: Predictor,
    source: str,
    reading: SliceReader,
    shape: tuple[int, ...],
    add_regions: Callable[[int, np.ndarray], None] | None,
    alone: bool,
) -> dict[str, np.ndarray]:
    """The volumes to write, by output; the regions of slices are written as they come."""
    outputs = [name for name in predictor.request.outputs if name in VOLUME_OUTPUTS]
    types = dict.fromkeys(outputs, np.float32) | {"mask": predictor.model.mask_dtype}
    layers = {name: np.zeros(shape, types[name]) for name in outputs}
    turn = reading.reorientation(Path(source))
    positions = range(turn.shape(shape)[reading.axis])
    slices = ((position, reading.image(Path(source), position)) for position in positions)

    with ProgressBar(len(positions), unit="slices", bar=alone) as tally:

        def keep(one: tuple[int, np.ndarray], found: Prediction) -> None:
            for name, voxels in layers.items():
                # Views, without the fourth axis of one that some files have: what is written to
                # the turned volume is where it belongs in the file's own.
                view = np.moveaxis(turn.apply(voxels.reshape(shape[:3])), reading.axis, 0)
                view[one[0]] = VOLUME_OUTPUTS[name](found)
            if add_regions is not None:
                add_regions(one[0], found.mask)
            tally.add(1, 0)

        label_in_batches(predictor, source, slices, lambda one: one[1], keep)
    return layers


def _axes(volume: Any, turn: Reorientation, orientation: str | None) -> str:
    """The directions of the axes of a volume, and how it was turned."""
    own = orientation_of(volume, "")
    if own is None:
        taken = f", and is taken as {orientation}" if orientation else ""
        return f"it does not say where it lies{taken}"
    turned = f", turned to {', '.join(orientation)} and back" if turn != Reorientation() else ""
    return f"axes to {', '.join(own)}{turned}"


def _write(path: Path, voxels: np.ndarray, like: Any) -> None:
    """Writes a volume with the header of another, less what speaks of its intensities."""
    header = like.header.copy()
    header.set_data_dtype(voxels.dtype)
    header["cal_min"] = header["cal_max"] = 0
    image = type(like)(voxels, like.affine, header)
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), LEVEL, mtime=0))
