"""Summaries of mask files: what they store, whatever a config says about them."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from fcnjax.data.labels.classes import MAX_MASK_VALUES, evenly
from fcnjax.data.labels.mask_files import (
    guess_encoding,
    is_array,
    is_colour,
    read_colours,
    read_mask,
    read_onehot,
)
from fcnjax.data.readers.conversion import NO_DATA
from fcnjax.data.readers.decode import read_stored_pixels
from fcnjax.data.readers.stored_pixels import Size
from fcnjax.validate.blending import NO_RAMP, is_blended, ramp_share

MAX_COMPONENTS = 12  # values of a mask whose connected components are counted
MANY_OBJECTS = 8  # in a mask: more than a dataset has classes, if the numbers of masks differ

RGB = tuple[int, int, int]
MIN_RAMP = 0.3  # share of the border pixels with an id between: the mask was interpolated
SINGLE = 0.8  # share of the values that are in one mask only, where they number objects
MAX_VALUES = 4096  # distinct values kept of a dataset


@dataclass(frozen=True)
class MaskSummary:
    """The content of a mask file.

    Attributes:
        path: The file.
        kind: `ids`, `palette`, `rgb` or `onehot`.
        size: Height and width.
        lossy: True for a JPEG file.
        values: Pixels by value; the values are RGB triples if the kind is `rgb`.
        colours: The RGB of the palette indices that are used.
        blended: True if values are scattered as in a mask that was resized with interpolation or
            saved as JPEG.
        objects: The number of objects if each value seems to number an object, else None.
        consecutive: True if the values count from 1 without gaps.
        alpha: True if the file has one colour, and shapes only in its alpha channel.
        ramps: Share of borders between distant ids that have ids between; None if they are few.
        channels: Number of channels, if the kind is `onehot`; this is also the value of pixels
            that are in none of them.
        image: The image, if the mask is an array.
    """

    path: Path
    kind: str
    size: tuple[int, int]
    lossy: bool = False
    values: Counter = field(default_factory=Counter)
    colours: dict[int, RGB] = field(default_factory=dict)
    blended: bool = False
    objects: int | None = None
    consecutive: bool = False
    alpha: bool = False
    ramps: float | None = None
    channels: int = 0
    image: Path | None = None


def summarise_mask(path: Path, image: Path | None = None, size: Size | None = None) -> MaskSummary:
    """Read a mask file.

    Args:
        path: The file.
        image: Its image, if known.
        size: Height and width of the image, None if it cannot be read. An array of three axes
            needs it.

    Raises:
        UserError: The file is missing or damaged, or stores what no mask does.
    """
    if is_array(path):
        return replace(_summarise_array(path, size), image=image)
    stored = read_stored_pixels(path)
    lossy = stored.format in ("JPEG", "MPO")
    if is_colour(path, stored):
        return _summarise_colours(path, read_colours(path), lossy)
    summary = _summarise_values(path, read_mask(path), lossy)
    palette = stored.palette or []
    alpha = stored.pixels[..., -1] if "alpha" in stored.colorinterp else None
    return replace(
        summary,
        kind="palette" if palette else "ids",
        colours={v: palette[v] for v in summary.values if 0 <= v < len(palette)},
        alpha=len(summary.values) == 1 and alpha is not None and alpha.min() < alpha.max(),
    )


def _summarise_array(path: Path, size: Size | None) -> MaskSummary:
    kind = guess_encoding(path, size)
    if kind == "rgb":
        return _summarise_colours(path, read_colours(path, size), False)
    if kind == "ids":
        return _summarise_values(path, read_mask(path, size), False)
    channels = read_onehot(path, size)
    count = channels.shape[-1]
    values = np.where(channels.any(-1), channels.argmax(-1), count)
    return MaskSummary(path, "onehot", values.shape, values=_histogram(values), channels=count)


def _summarise_values(path: Path, values: np.ndarray, lossy: bool) -> MaskSummary:
    counts = _histogram(values)
    no_data = counts.pop(NO_DATA, None)
    numbers = set(counts) - {0}
    return MaskSummary(
        path,
        "ids",
        values.shape,
        lossy,
        counts,
        blended=not no_data and is_blended(values, counts),
        objects=_count_objects(values, counts),
        consecutive=numbers == set(range(1, len(numbers) + 1)),
        ramps=ramp_share(values),
    )


def _summarise_colours(path: Path, colours: np.ndarray, lossy: bool) -> MaskSummary:
    codes = (colours.astype(np.int32) << np.asarray([16, 8, 0], np.int32)).sum(-1, dtype=np.int32)
    counts = _histogram(codes)
    values = Counter({(c >> 16, c >> 8 & 255, c & 255): n for c, n in counts.items()})
    blended = is_blended(codes, counts)
    return MaskSummary(path, "rgb", codes.shape, lossy, values, blended=blended)


def _histogram(values: np.ndarray) -> Counter:
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        return Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
    unique, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(unique.tolist(), counts.tolist(), strict=True)))


def _count_objects(values: np.ndarray, counts: Counter) -> int | None:
    """Return the number of values besides 0, if each is one connected region."""
    numbers = sorted(value for value in counts if value)
    num_split = 0
    for number in evenly(numbers, MAX_COMPONENTS):
        # The background is a component too. One object may be split by another in front of it.
        num_split += cv2.connectedComponents((values == number).astype(np.uint8))[0] != 2
        if num_split > (len(numbers) >= MANY_OBJECTS):
            return None
    return len(numbers)


class MaskStatistics:
    """The summaries of the masks of a dataset, added up.

    Attributes:
        files: Number of masks.
        pixels: Pixels by value, of the masks that are not blended.
        masks_with: Masks by value.
        with_both: Number of masks that have both 1 and 255.
        kinds: Masks by kind.
        first: The first file of each kind.
        palettes: The colours of each palette index.
        blended: The masks whose values are blended.
        blended_pixels: Their pixels by value.
        lossy: The masks that are JPEG files.
        objects: Number of objects of each mask whose values seem to number them from 1 on.
        regions: Number of objects of each mask whose values seem to number them at all.
        alpha: The masks of one colour with shapes in their alpha channel.
        ramps: The masks that have ids between distant ones along their borders.
        steps: Number of masks that have next to none there.
        sound: The masks that are not blended.
        images: The image of each mask that is an array.
        channels: The numbers of channels of masks with a channel for each class.
    """

    def __init__(self):
        self.files = 0
        self.pixels: Counter = Counter()
        self.masks_with: Counter = Counter()
        self.kinds: Counter = Counter()
        self.first: dict[str, Path] = {}
        self.palettes: dict[int, set[RGB]] = {}
        self.blended: list[Path] = []
        self.blended_pixels: Counter = Counter()
        self.lossy: list[Path] = []
        self.objects: list[int] = []
        self.regions: list[int] = []
        self.alpha: list[Path] = []
        self.ramps: list[Path] = []
        self.steps = 0
        self.with_both = 0
        self.sound: list[Path] = []
        self.images: dict[Path, Path] = {}
        self.channels: set[int] = set()

    def add(self, mask: MaskSummary) -> None:
        """Add a mask."""
        self.files += 1
        self.kinds[mask.kind] += 1
        self.first.setdefault(mask.kind, mask.path)
        self.channels |= {mask.channels} - {0}
        if mask.image is not None:
            self.images[mask.path] = mask.image
        if mask.lossy:
            self.lossy.append(mask.path)
        if mask.blended:
            self.blended.append(mask.path)
            if mask.kind != "rgb":
                self.blended_pixels.update(mask.values)
            return
        self.sound.append(mask.path)
        if mask.ramps is not None:
            self.steps += mask.ramps < NO_RAMP
            self.ramps += [mask.path] if mask.ramps > MIN_RAMP else []
        if mask.alpha:
            self.alpha.append(mask.path)
        if mask.objects is not None:
            self.regions.append(mask.objects)
            self.objects += [mask.objects] if mask.consecutive else []
        for value, colour in mask.colours.items():
            self.palettes.setdefault(value, set()).add(colour)
        if len(self.pixels) < MAX_VALUES:
            self.pixels.update(mask.values)
            self.masks_with.update(mask.values.keys())
            self.with_both += {1, 255} <= mask.values.keys()

    @property
    def has_ramps(self) -> bool:
        """True if most masks were interpolated, or some while others clearly were not.

        Classes that are thin layers look the same, in a mask here and there.
        """
        count, rest = len(self.ramps), self.files - len(self.ramps)
        return count > rest or (count > 1 and self.steps > max(count, 0.8 * rest))

    @property
    def numbers_objects(self) -> bool:
        """True if values seem to number objects: many, and not the same number in each mask."""
        most, num_different = max(self.objects, default=0), len(set(self.objects) - {0})
        if self.has_unique_values or most >= MANY_OBJECTS:
            # The parts of one thing are one region each too, but then most masks have all parts.
            counts = self.regions if self.has_unique_values else self.objects
            share = max(map(counts.count, counts), default=0) / max(len(counts), 1)
            many = len(counts) >= 0.8 * self.files and max(counts, default=0) >= MANY_OBJECTS
            return many and len(set(counts) - {0}) > 1 and share <= 0.5
        # With few objects every mask must agree, since masks may lack a class here and there.
        return len(self.objects) == self.files >= 2 * most and most >= 4 and num_different >= 3

    @property
    def mixes_white(self) -> bool:
        """True if one class is 1 in some masks and 255 in the others, and no mask has both.

        If nearly all masks without 255 have a 1, some with 255 would have one by chance.
        """
        ones, whites = self.masks_with[1], self.masks_with[255]
        is_alone = set(self.pixels) == {0, 1, 255} and not self.with_both
        return is_alone and min(ones, whites) > 2 and ones >= 0.9 * (len(self.sound) - whites)

    @property
    def has_unique_values(self) -> bool:
        """True if values are too many or too high for classes, and mostly in one mask each."""
        many = len(self.pixels) > MAX_MASK_VALUES
        numbers = [value for value in self.pixels if isinstance(value, int) and value]
        if any(255 < value < 65535 for value in numbers):
            return many or max(numbers) - min(numbers) == len(numbers) - 1
        return many and list(self.masks_with.values()).count(1) > SINGLE * len(self.pixels)
