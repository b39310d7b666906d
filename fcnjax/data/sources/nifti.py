"""Volumes as NIfTI, and masks of the same places; each slice is an example.

Volumes are brought to one orientation, `config.data.orientation`, by their affines; None takes that
of the first volume to train on. Slices are taken along `config.data.axis` of the turned array; the
first of the two axes left is the image's rows. Intensities from the low to the high of
`config.data.intensity` become 0 to 65535; where it is (), those are the 0.5 and 99.5 percentiles of
each volume.
How files are read, and which are read fast: `fcnjax/data/readers/volumes/read.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import evenly
from fcnjax.data.labels.masks import ClassTable, to_foreground
from fcnjax.data.layout import PARTS, Layout
from fcnjax.data.loading.skipping import LEAST_FAILED, readable, skips
from fcnjax.data.readers.conversion import NO_DATA
from fcnjax.data.readers.volumes.orientation import orientation_of
from fcnjax.data.readers.volumes.read import SUFFIXES, SliceReader, label_values, open_volume
from fcnjax.data.sources.whole_files import divide, find_values
from fcnjax.data.splits.example import Example, example_of
from fcnjax.data.splits.folders import stem_of
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import stamps

LOOKED_AT = 32  # masks read to find the classes
BLOCK = 12  # slices that go together where a volume is divided


@dataclass(frozen=True)
class Volume:
    """A volume, its mask, and the slices of it that a split has.

    Attributes:
        image: The image's file.
        mask: The mask's file.
        shape: Of the turned array, three axes.
        slices: Those, in order.
    """

    image: Path
    mask: Path
    shape: tuple[int, int, int]
    slices: tuple[int, ...]


class NiftiSource:
    """Slices of volumes.

    Args:
        volumes: The volumes.
        data: `config.data`, resolved.

    Attributes:
        images: The files of the volumes.
    """

    def __init__(self, volumes: Sequence[Volume], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self.images = [volume.image for volume in volumes]
        self._volumes = list(volumes)
        self._root = Path(data.root)
        self._reading = SliceReader(data)
        self._instances = data.encoding == "instances"
        self._ignored = tuple(data.ignore_values)
        self._classes = ClassTable(data)
        self._ends = np.cumsum([len(volume.slices) for volume in volumes])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a slice."""
        shape = list(self._place(index)[0].shape)
        del shape[self._reading.axis]
        return tuple(shape)

    def stamps(self) -> list[tuple]:
        """Of the files, and which part of each is read."""
        files = stamps(file for volume in self._volumes for file in (volume.image, volume.mask))
        return [*files, *(volume.slices for volume in self._volumes)]

    def examples(self) -> list[Example]:
        """The identity of each slice: the volume, the mask, and its part of the axes."""
        found = []
        for volume in self._volumes:
            whole = example_of(self._root, (volume.image, volume.mask))
            box = [(0, length) for length in volume.shape]
            for position in volume.slices:
                box[self._reading.axis] = (position, position + 1)
                found.append(whole._replace(box=tuple(box)))
        return found

    def __getitem__(self, index: int) -> dict[str, Any]:
        volume, position = self._place(index)
        stored = self._reading.labels(volume.mask, position)
        if self._instances:
            stored = to_foreground(stored, self._ignored, volume.mask)
        return {
            "image": self._reading.image(volume.image, position),
            "label": self._classes(stored, volume.mask),
            "name": f"{stem_of(volume.image.name, SUFFIXES)}_{position:03}",
        }

    def _place(self, index: int) -> tuple[Volume, int]:
        # Python ends a loop over a source by this.
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        volume = self._volumes[number]
        first = int(self._ends[number - 1]) if number else 0
        return volume, volume.slices[index - first]


def find_volumes(data: ConfigDict) -> tuple[dict[str, list[Volume]], bool, list[UserError]]:
    """Finds the volumes of `train` and `eval`.

    Returns:
        The volumes by part; whether each was divided by blocks of slices; and the errors of
        volumes that are left out, as `config.data.on_error=skip` allows.

    Raises:
        UserError: A file is missing, or a mask does not fit its image; or too many are left out.
    """
    reading, may_skip = SliceReader(data), skips(data)
    pairs, divided = divide(data, SUFFIXES)
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
    if len(failed) >= LEAST_FAILED and len(failed) > data.skip_most * count:
        raise UserError(
            f"config.data.skip_most: {len(failed)} of {count} volumes cannot be read, more than "
            f"{data.skip_most:g} of them; the first: {next(iter(failed.values()))}"
        )
    if not all(volumes.values()):
        raise UserError(f"{next(iter(failed.values()))} (and no other of its split can be read)")
    return volumes, bool(divided), list(failed.values())


def _volume(image: Path, mask: Path, reading: SliceReader, part: str, data: ConfigDict) -> Volume:
    """A volume with all its slices, or those of a part."""
    shape = _shape(image, mask, reading)
    slices = range(shape[reading.axis])
    if part:
        if len(slices) < 2:
            raise UserError(f"{image}: has one slice, which cannot be divided")
        slices = blocks(len(slices), data.eval_fraction)[part]
    return Volume(image, mask, shape, tuple(slices))


def blocks(length: int, fraction: float) -> dict[str, list[int]]:
    """Divides the slices of a volume by blocks of `BLOCK`, or a tenth of them if that is less.

    Blocks that are held out are spread evenly over the volume, so that each part of the body is
    on both sides. A slice is much like the next: whole blocks keep the two apart.

    Args:
        length: Slices, two or more.
        fraction: The part to hold out.

    Returns:
        The slices of `train` and `eval`, one or more of each.
    """
    size = max(min(BLOCK, length // 10), 1)
    count = -(-length // size)
    # Held out where the fraction, added up block by block, passes a whole number.
    passed = np.floor(np.arange(count + 1) * fraction + 1e-9).astype(int)
    held_out = np.diff(passed) > 0
    if not held_out.any():
        held_out[-1] = True
    if held_out.all():
        held_out[0] = False
    which = held_out[np.arange(length) // size]
    return {
        "train": np.flatnonzero(~which).tolist(),
        "eval": np.flatnonzero(which).tolist(),
    }


def _shape(image: Path, mask: Path, reading: SliceReader) -> tuple[int, int, int]:
    """The shape of a turned volume, which is its mask's; both lie in the same place."""
    (shape, affine), (mask_shape, mask_affine) = (_turned(path, reading) for path in (image, mask))
    if shape != mask_shape:
        raise UserError(f"{mask}: has the shape {mask_shape}, and its image {image} has {shape}")
    # The farthest corner, which a difference in scale or angle moves most, and the nearest.
    corners = np.asarray([(0, 0, 0, 1), (*shape, 1)]).T
    off = np.abs((affine - mask_affine) @ corners)[:3].max()
    voxel = float(np.abs(np.linalg.det(affine[:3, :3])) ** (1 / 3)) or 1.0
    if off > 0.1 * voxel:
        raise UserError(
            f"{mask}: lies elsewhere than its image {image}, by {off:.6g} mm; both need one affine"
        )
    return shape


def _turned(path: Path, reading: SliceReader) -> tuple[tuple[int, int, int], np.ndarray]:
    """The shape and the affine of a volume in the orientation of the set."""
    header, turn = open_volume(path), reading.reorientation(path)
    return turn.shape(header.shape), turn.affine(header.affine, header.shape)


def _first_orientation(data: ConfigDict) -> str | None:
    """The orientation of the first volume to train on whose file says it."""
    for image, _ in divide(data, SUFFIXES)[0]["train"]:
        try:
            found = orientation_of(open_volume(image), str(image))
        except UserError:
            if not skips(data):
                raise
            continue
        if found is not None:
            return found
    return None


def by_orientations(images: Sequence[Path]) -> dict[str | None, list[Path]]:
    """The volumes by their orientation as they are stored; None: their files do not say."""
    found: dict[str | None, list[Path]] = {}
    for image in images:
        found.setdefault(orientation_of(open_volume(image), str(image)), []).append(image)
    return found


def _orientation_notes(images: Sequence[Path], data: ConfigDict) -> list[str]:
    """Lines on the volumes that are turned, and on those whose files do not say how they lie."""
    by_orientation = by_orientations(images)
    unknown = by_orientation.pop(None, [])
    by_orientation.pop(data.orientation, None)
    lines = [
        f"{data.root}: {len(paths)} volumes, as {paths[0].name}, are stored as {own}, and are "
        f"turned to {data.orientation}"
        for own, paths in by_orientation.items()
    ]
    if unknown and data.orientation is not None:
        lines.append(
            f"{data.root}: {len(unknown)} volumes, as {unknown[0].name}, do not say how they lie: "
            f"they are taken as {data.orientation}"
        )
    return lines


def _look(masks: Sequence[Path], data: ConfigDict) -> dict[int, Path]:
    """The values that masks store, each with a file that has it; reads `LOOKED_AT` at most."""
    found: dict[int, Path] = {}
    paths = evenly(masks, LOOKED_AT)
    for path in readable(paths, label_values) if skips(data) else paths:
        for value in label_values(path):
            if value != NO_DATA:
                found.setdefault(value, path)
    return found


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    data.pixel_type = data.pixel_type or "uint16"
    SliceReader(data)  # whose errors come first
    data.orientation = data.orientation or _first_orientation(data)
    volumes, divided, failed = find_volumes(data)
    masks = [volume.mask for part in PARTS for volume in volumes[part]]
    note = find_values(data, lambda: _look(list(dict.fromkeys(masks)), data))
    counts = [sum(len(volume.slices) for volume in volumes[part]) for part in PARTS]
    lines = [
        f"{data.root}: {len(volumes['train'])} volumes to train on in {counts[0]} slices, "
        f"{len(volumes['eval'])} held out in {counts[1]}{note}"
    ]
    images = [volume.image for part in PARTS for volume in volumes[part]]
    lines += [f"warning: skipped: {error}" for error in failed]
    lines += _orientation_notes(list(dict.fromkeys(images)), data)
    if divided:
        who = "one subject" if len(volumes["eval"]) == 1 else "the same subjects"
        lines.append(
            f"{data.root}: each volume is divided by blocks of slices: it is {who} on either side, "
            "and the score says nothing of another"
        )
    return lines


def _open(config: ConfigDict, part: str) -> NiftiSource:
    return NiftiSource(find_volumes(config.data)[0][part], config.data)


LAYOUT = Layout(
    "volumes as .nii or .nii.gz in config.data.images and .masks, read in slices",
    _resolve,
    _open,
    divides=True,
)
