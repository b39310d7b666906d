"""NIfTI volumes with masks of the same space; each slice is an example.

Volumes are reoriented to `config.data.nifti.orientation` by their affines; None takes the
orientation of the first training volume. Slices are taken along `config.data.nifti.axis` of the
reoriented array. The first of the other two axes gives the rows of the image. Intensities between
the two values of `config.data.nifti.intensity` become 0 to 65535; () takes the 0.5 and 99.5
percentiles of each volume.
`fcnjax/data/readers/volumes/read.py` describes how files are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import evenly
from fcnjax.data.layout import PARTS, Layout
from fcnjax.data.loading.skipping import MIN_FAILED, filter_readable, skips_unreadable
from fcnjax.data.readers.conversion import NO_DATA
from fcnjax.data.readers.volumes.orientation import orientation_of
from fcnjax.data.readers.volumes.read import SUFFIXES, SliceReader, label_values, open_volume
from fcnjax.data.sources.multi_example_files import (
    MultiExampleSource,
    find_mask_values,
    split_files,
)
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.folders import stem_of
from fcnjax.errors import UserError

SAMPLED = 32  # masks that are read to find the classes
BLOCK = 12  # slices of a block, where volumes are divided by blocks


@dataclass(frozen=True)
class Volume:
    """A volume, its mask, and its slices in a split.

    Attributes:
        image: The image file.
        mask: The mask file.
        shape: Shape of the reoriented array, three axes.
        slices: The slices, in order.
    """

    image: Path
    mask: Path
    shape: tuple[int, int, int]
    slices: tuple[int, ...]


class NiftiSource(MultiExampleSource):
    """Slices of volumes.

    Args:
        volumes: The volumes.
        data: `config.data`, resolved.

    Attributes:
        images: The files of the volumes.
    """

    def __init__(self, volumes: Sequence[Volume], data: ConfigDict):
        super().__init__(volumes, [len(volume.slices) for volume in volumes], data)
        self.images = [volume.image for volume in volumes]
        self._reading = SliceReader(data)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of a slice."""
        shape = list(self._locate(index)[0].shape)
        del shape[self._reading.axis]
        return tuple(shape)

    def stamps(self) -> list[tuple]:
        """Return the identity of the files, and the slices of each that are read."""
        return [*self._stamps(), *(volume.slices for volume in self._files)]

    def examples(self) -> list[Example]:
        """Return the identity of each slice: the volume, the mask, and its range of each axis."""
        examples = []
        for volume in self._files:
            example = example_of(self._root, (volume.image, volume.mask))
            box = [(0, length) for length in volume.shape]
            for position in volume.slices:
                box[self._reading.axis] = (position, position + 1)
                examples.append(example._replace(box=tuple(box)))
        return examples

    def __getitem__(self, index: int) -> dict[str, Any]:
        volume, number = self._locate(index)
        position = volume.slices[number]
        label = self._class_ids(self._reading.labels(volume.mask, position), volume.mask)
        return {
            "image": self._reading.image(volume.image, position),
            "label": label,
            "name": f"{stem_of(volume.image.name, SUFFIXES)}_{position:03}",
        }


def find_volumes(data: ConfigDict) -> tuple[dict[str, list[Volume]], bool, list[UserError]]:
    """Find the volumes of `train` and `eval`.

    Returns:
        The volumes by split; whether each was divided by blocks of slices; and the errors of
        volumes that are left out, as `config.data.loading.on_error=skip` allows.

    Raises:
        UserError: A file is missing, a mask does not fit its image, or too many are left out.
    """
    reading, may_skip = SliceReader(data), skips_unreadable(data)
    pairs, divided = split_files(data, SUFFIXES)
    volumes: dict[str, list[Volume]] = {}
    failed: dict[Path, UserError] = {}
    for part in PARTS:
        volumes[part] = []
        for image, mask in pairs[part]:
            try:
                volumes[part].append(_volume(image, mask, reading, part if divided else "", data))
            except UserError as error:
                if not may_skip:
                    raise
                failed[image] = error
    count = len({image for part in PARTS for image, _ in pairs[part]})
    if len(failed) >= MIN_FAILED and len(failed) > data.loading.skip_most * count:
        raise UserError(
            f"config.data.loading.skip_most: {len(failed)} of {count} volumes cannot be read, more "
            f"than {data.loading.skip_most:g} of them; the first: {next(iter(failed.values()))}"
        )
    if not all(volumes.values()):
        raise UserError(f"{next(iter(failed.values()))} (and no other of its split can be read)")
    return volumes, bool(divided), list(failed.values())


def _volume(image: Path, mask: Path, reading: SliceReader, part: str, data: ConfigDict) -> Volume:
    """Return a volume with all its slices or, with a part, the slices of that split."""
    shape = _check_shapes(image, mask, reading)
    slices = range(shape[reading.axis])
    if part:
        if len(slices) < 2:
            raise UserError(f"{image}: has one slice, which cannot be divided")
        slices = split_slices(len(slices), data.split.eval_fraction)[part]
    return Volume(image, mask, shape, tuple(slices))


def split_slices(length: int, fraction: float) -> dict[str, list[int]]:
    """Divide the slices of a volume by blocks of `BLOCK`, or of a tenth of them if that is less.

    Blocks that are held out are spread evenly over the volume, so that each part of the body is
    in both splits. Adjacent slices are similar, and blocks keep most of them in the same split.

    Args:
        length: Number of slices, at least two.
        fraction: The fraction to hold out.

    Returns:
        The slices of `train` and `eval`, at least one of each.
    """
    size = max(min(BLOCK, length // 10), 1)
    count = -(-length // size)
    # A block is held out if the cumulative fraction passes an integer in it.
    passed = np.floor(np.arange(count + 1) * fraction + 1e-9).astype(int)
    held_out = np.diff(passed) > 0
    if not held_out.any():
        held_out[-1] = True
    if held_out.all():
        held_out[0] = False
    is_eval = held_out[np.arange(length) // size]
    return {
        "train": np.flatnonzero(~is_eval).tolist(),
        "eval": np.flatnonzero(is_eval).tolist(),
    }


def _check_shapes(image: Path, mask: Path, reading: SliceReader) -> tuple[int, int, int]:
    """Return the shape of a reoriented volume; its mask must have the same shape and location."""
    (shape, affine), (mask_shape, mask_affine) = (
        _reoriented(path, reading) for path in (image, mask)
    )
    if shape != mask_shape:
        raise UserError(f"{mask}: has the shape {mask_shape}, and its image {image} has {shape}")
    # The nearest corner, and the farthest, which a difference in scale or angle moves most.
    corners = np.asarray([(0, 0, 0, 1), (*shape, 1)]).T
    distance = np.abs((affine - mask_affine) @ corners)[:3].max()
    voxel = float(np.abs(np.linalg.det(affine[:3, :3])) ** (1 / 3)) or 1.0
    if distance > 0.1 * voxel:
        raise UserError(
            f"{mask}: lies elsewhere than its image {image}, by {distance:.6g} mm; both need the "
            "same affine"
        )
    return shape


def _reoriented(path: Path, reading: SliceReader) -> tuple[tuple[int, int, int], np.ndarray]:
    """Return the shape and the affine of a volume in the orientation of the dataset."""
    header, turn = open_volume(path), reading.reorientation(path)
    return turn.shape(header.shape), turn.affine(header.affine, header.shape)


def _first_orientation(data: ConfigDict) -> str | None:
    """Return the orientation of the first training volume whose file states it."""
    for image, _ in split_files(data, SUFFIXES)[0]["train"]:
        try:
            orientation = orientation_of(open_volume(image), str(image))
        except UserError:
            if not skips_unreadable(data):
                raise
            continue
        if orientation is not None:
            return orientation
    return None


def group_by_orientation(images: Sequence[Path]) -> dict[str | None, list[Path]]:
    """Group volumes by their stored orientation; None if a file does not state it."""
    groups: dict[str | None, list[Path]] = {}
    for image in images:
        groups.setdefault(orientation_of(open_volume(image), str(image)), []).append(image)
    return groups


def _orientation_notes(images: Sequence[Path], data: ConfigDict) -> list[str]:
    """Return lines on volumes that are reoriented, and on those without an orientation."""
    groups = group_by_orientation(images)
    unknown = groups.pop(None, [])
    groups.pop(data.nifti.orientation, None)
    lines = [
        f"{data.root}: {len(paths)} volumes, as {paths[0].name}, are stored as {stored}, and are "
        f"turned to {data.nifti.orientation}"
        for stored, paths in groups.items()
    ]
    if unknown and data.nifti.orientation is not None:
        lines.append(
            f"{data.root}: {len(unknown)} volumes, as {unknown[0].name}, do not state their "
            f"orientation: they are taken as {data.nifti.orientation}"
        )
    return lines


def _read_values(masks: Sequence[Path], data: ConfigDict) -> dict[int, Path]:
    """Return the values stored in masks, each with a file that has it; reads a sample of them."""
    values: dict[int, Path] = {}
    paths = evenly(masks, SAMPLED)
    for path in filter_readable(paths, label_values) if skips_unreadable(data) else paths:
        for value in label_values(path):
            if value != NO_DATA:
                values.setdefault(value, path)
    return values


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    data.pixel_type = data.pixel_type or "uint16"
    SliceReader(data)  # checks its keys before any file is read
    data.nifti.orientation = data.nifti.orientation or _first_orientation(data)
    parts, divided, failed = find_volumes(data)
    volumes = [volume for part in PARTS for volume in parts[part]]
    masks = list(dict.fromkeys(volume.mask for volume in volumes))
    note = find_mask_values(data, lambda: _read_values(masks, data))
    counts = [sum(len(volume.slices) for volume in parts[part]) for part in PARTS]
    lines = [
        f"{data.root}: {len(parts['train'])} volumes to train on in {counts[0]} slices, "
        f"{len(parts['eval'])} held out in {counts[1]}{note}"
    ]
    lines += [f"warning: skipped: {error}" for error in failed]
    lines += _orientation_notes(list(dict.fromkeys(volume.image for volume in volumes)), data)
    if divided:
        subjects = "subject is" if len(parts["eval"]) == 1 else "subjects are"
        lines.append(
            f"{data.root}: each volume is divided by blocks of slices: the same {subjects} in both "
            "splits, and the score says nothing about others"
        )
    return lines


def _open(config: ConfigDict, part: str) -> NiftiSource:
    return NiftiSource(find_volumes(config.data)[0][part], config.data)


LAYOUT = Layout(
    "NIfTI volumes (.nii, .nii.gz) in config.data.images and .masks, read in slices",
    _resolve,
    _open,
    can_split=True,
)
