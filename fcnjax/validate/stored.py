"""Looks at what a mask file stores, whatever a config says of it."""

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
from fcnjax.data.readers.exif import Size

LINE = 3  # of 3x3 pixels: itself and two neighbours, a line of one pixel's width
RAMP_PIXELS = 60  # pixels of borders between distant ids, below which they tell nothing
RAMP = 0.3  # the part of them that has a number between
STEP = 0.05  # the part of them that has one, up to which a mask has none
LINED = 0.8  # of the numbers between: a class that has as many is one of borders
MOST_COUNTED_AS_IDS = 64  # ids above which a ramp is one of grey levels
SINGLE = 0.8  # of the values: names of objects are in one mask each, classes in several
MANY = 8  # objects of a mask that are no classes, where other masks have other numbers
FEW = 8  # distinct values, below which a mask is not suspected of blended ones
PEAK = 0.01  # of the pixels: a value that has as many is no blend
BESIDE = 8  # grey levels about a value, within which JPEG of high quality strays
MIXED = 0.6  # of the rare pixels: so many are not, where a classifier of pixels is unsure
MOST_ALONE = 50_000  # rare pixels of a mask that are looked at
COMPONENTS_OF = 12  # values of a mask whose connectedness is looked at
MOST_COUNTED = 4096  # distinct values kept of a whole set

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Stored:
    """What a mask file stores.

    Attributes:
        path: The file.
        kind: `ids`, `palette`, `rgb` or `onehot`.
        size: Height and width.
        lossy: Whether the file is a JPEG.
        values: Pixels by value; RGB triples where the kind is `rgb`.
        colours: The RGB of the palette's values that are used.
        blended: Whether values lie scattered as those of a mask do that was resized with
            interpolation or saved as JPEG.
        objects: How many there are where each value seems to be an object's number, else None;
            `runs` is whether these count from 1 on.
        alpha: Whether the file has one colour, and shapes in its transparency.
        ramps: Of borders between distant ids, the part with ids between; None where they are few.
        channels: How many there are, where the kind is `onehot`; the value of a pixel in none.
        image: The image, where the mask is an array.
    """

    path: Path
    kind: str
    size: tuple[int, int]
    lossy: bool = False
    values: Counter = field(default_factory=Counter)
    colours: dict[int, RGB] = field(default_factory=dict)
    blended: bool = False
    objects: int | None = None
    runs: bool = False
    alpha: bool = False
    ramps: float | None = None
    channels: int = 0
    image: Path | None = None


def look_at_mask(path: Path, image: Path | None = None, size: Size | None = None) -> Stored:
    """Reads a mask file.

    Args:
        path: The file.
        image: Its image, where it is known.
        size: Height and width of that, None where it cannot be read; an array of three axes needs
            it.

    Raises:
        UserError: It is missing or damaged, or stores what no mask does.
    """
    if is_array(path):
        return replace(_of_array(path, size), image=image)
    stored = read_stored_pixels(path)
    lossy = stored.format in ("JPEG", "MPO")
    if is_colour(path, stored):
        return _of_colours(path, read_colours(path), lossy)
    one = _of_values(path, read_mask(path), lossy)
    palette = stored.palette or []
    alpha = stored.pixels[..., -1] if "alpha" in stored.colorinterp else None
    return replace(
        one,
        kind="palette" if palette else "ids",
        colours={v: palette[v] for v in one.values if 0 <= v < len(palette)},
        alpha=len(one.values) == 1 and alpha is not None and alpha.min() < alpha.max(),
    )


def _of_array(path: Path, size: Size | None) -> Stored:
    kind = guess_encoding(path, size)
    if kind == "rgb":
        return _of_colours(path, read_colours(path, size), False)
    if kind == "ids":
        return _of_values(path, read_mask(path, size), False)
    channels = read_onehot(path, size)
    count = channels.shape[-1]
    values = np.where(channels.any(-1), channels.argmax(-1), count)
    return Stored(path, "onehot", values.shape, values=_histogram(values), channels=count)


def _of_values(path: Path, values: np.ndarray, lossy: bool) -> Stored:
    found = _histogram(values)
    void = found.pop(NO_DATA, None)
    return Stored(
        path,
        "ids",
        values.shape,
        lossy,
        found,
        blended=not void and _is_blended(values, found),
        objects=_objects(values, found),
        runs=set(found) - {0} == set(range(1, len(set(found) - {0}) + 1)),
        ramps=_ramps(values),
    )


def _of_colours(path: Path, colours: np.ndarray, lossy: bool) -> Stored:
    codes = (colours.astype(np.int32) << np.asarray([16, 8, 0], np.int32)).sum(-1, dtype=np.int32)
    found = _histogram(codes)
    values = Counter({(c >> 16, c >> 8 & 255, c & 255): n for c, n in found.items()})
    blended = _is_blended(codes, found)
    return Stored(path, "rgb", codes.shape, lossy, values, blended=blended)


def _histogram(values: np.ndarray) -> Counter:
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        return Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
    found, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


def _is_blended(values: np.ndarray, found: Counter) -> bool:
    """Whether the rare values are many, and most of their pixels stand alone and look mixed.

    Classes and objects are regions, however small; what interpolation and JPEG leave along borders
    is a few pixels of one value and then another.

    Args:
        values: The mask; colours as one number of three bytes.
        found: Its pixels by value.
    """
    strays = _strays(found)
    rare = strays or [value for value, count in found.items() if count < PEAK * values.size]
    plain = not strays and (len(found) < FEW or len(rare) < FEW / 2)
    if plain or min(values.shape) < 3:
        return False
    ys, xs = np.nonzero(np.isin(values[1:-1, 1:-1], rare))
    step = len(ys) // MOST_ALONE + 1
    ys, xs = ys[::step], xs[::step]
    about = np.stack([values[ys + i // 3, xs + i % 3] for i in range(9)], -1)
    alike = (about == about[:, 4:5]).sum(-1)
    # Strokes and noise stand alone too, but on a ground of one value.
    mixed = bool(strays) or _are_mixed(about, alike)
    return bool(len(ys)) and float(((alike <= LINE) & mixed).mean()) > MIXED


def _strays(found: Counter) -> list[int]:
    """The values beside others that are far apart, as 1 and 254 beside 0 and 255; [] of ids.

    JPEG of high quality leaves such, and too few of them to be told by their number.
    """
    peaks: list[int] = []
    for value, _ in found.most_common():
        if all(abs(value - peak) > BESIDE for peak in peaks):
            peaks.append(value)
            if len(peaks) > FEW:
                return []
    strays = [value for value in found if value not in peaks]
    apart = len(peaks) > 1 and min(np.diff(sorted(peaks))) > 2 * BESIDE
    beside = [sum(found[v] for v in strays if abs(v - peak) <= BESIDE) for peak in peaks]
    few = all(0 < count < found[peak] for count, peak in zip(beside, peaks, strict=True))
    return strays if apart and few else []


def _are_mixed(about: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Whether a pixel lies between two opposite ones, or among many of other values.

    Args:
        about: The 3x3 pixels about each, row by row, `[N, 9]`.
        alike: How many of them have its value, `[N]`.
    """
    # By byte: that is by channel where the values are colours.
    parts = (about[..., None].astype(np.int32) >> np.asarray([16, 8, 0])) & 255
    middle, first, last = parts[:, 4:5], parts[:, :4], parts[:, :4:-1]
    up, down = (first < middle) & (middle < last), (last < middle) & (middle < first)
    kinds = (np.diff(np.sort(about, -1)) != 0).sum(-1) + 1
    return (up | down).any((1, 2)) | ((alike < LINE) & (kinds > LINE))


def _alike(values: np.ndarray) -> np.ndarray:
    """How many of the 3x3 pixels about each, itself included, have its value; `[H-2, W-2]`."""
    inner = values[1:-1, 1:-1]
    alike = np.zeros(inner.shape, np.uint8)
    height, width = values.shape
    for dy in range(3):
        for dx in range(3):
            alike += values[dy : height - 2 + dy, dx : width - 2 + dx] == inner
    return alike


def _ramps(values: np.ndarray) -> float | None:
    """Of borders between distant ids, the part that has lines of the numbers between theirs.

    Interpolation makes of 0 beside 4 some 1, 2 and 3, each a class of its own. (Of 0 beside 2 it
    makes a 1, as a thin layer between them is.) None where such borders are few, or lined by one
    class.
    """
    if values.dtype != np.uint8 or min(values.shape) < 3:
        return None
    low, high = (f(values, np.ones((3, 3), np.uint8))[1:-1, 1:-1] for f in (cv2.erode, cv2.dilate))
    wide = (high - low >= 3) & (high < MOST_COUNTED_AS_IDS)
    if wide.sum() < RAMP_PIXELS:
        return None
    inner = values[1:-1, 1:-1]
    between = wide & (inner > low) & (inner < high) & (_alike(values) <= LINE)
    share = float(between.sum() / wide.sum())
    one_class = np.bincount(inner[between], minlength=1).max() > LINED * between.sum()
    return None if share > STEP and one_class else share


def _objects(values: np.ndarray, found: Counter) -> int | None:
    """How many values there are beside 0, where each is one connected region."""
    numbers = sorted(value for value in found if value)
    torn = 0
    for number in evenly(numbers, COMPONENTS_OF) if numbers else ():
        # The ground is a component too. One object may be hidden in part by another.
        torn += cv2.connectedComponents((values == number).astype(np.uint8))[0] != 2
        if torn > (len(numbers) >= MANY):
            return None
    return len(numbers)


class StoredTally:
    """What the masks of a set store, taken together.

    Attributes:
        files: How many masks there are.
        pixels: Pixels by value, of the masks that are not blended.
        masks_with: Masks by value; `with_both` have 1 and 255.
        kinds: Masks by kind; `first` has a file of each.
        palettes: The colours that each palette index was seen with.
        blended: The masks whose values are blended, and `blended_pixels` by value.
        lossy: The masks that are JPEG files.
        objects: The number of objects of each mask that seems to number them from 1 on; `regions`
            of each that seems to number them at all.
        alpha: The masks of one colour that have shapes in their transparency.
        ramps: The masks that have ids between distant ones along their borders; `steps` is how many
            have next to none there.
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

    def add(self, one: Stored) -> None:
        """Counts a mask."""
        self.files += 1
        self.kinds[one.kind] += 1
        self.first.setdefault(one.kind, one.path)
        self.channels |= {one.channels} - {0}
        if one.image is not None:
            self.images[one.path] = one.image
        if one.lossy:
            self.lossy.append(one.path)
        if one.blended:
            self.blended.append(one.path)
            if one.kind != "rgb":
                self.blended_pixels.update(one.values)
            return
        self.sound.append(one.path)
        if one.ramps is not None:
            self.steps += one.ramps < STEP
            self.ramps += [one.path] if one.ramps > RAMP else []
        if one.alpha:
            self.alpha.append(one.path)
        if one.objects is not None:
            self.regions.append(one.objects)
            self.objects += [one.objects] if one.runs else []
        for value, colour in one.colours.items():
            self.palettes.setdefault(value, set()).add(colour)
        if len(self.pixels) < MOST_COUNTED:
            self.pixels.update(one.values)
            self.masks_with.update(one.values.keys())
            self.with_both += {1, 255} <= one.values.keys()

    @property
    def has_ramps(self) -> bool:
        """Whether most masks, or some beside others that have none at all, were interpolated.

        Classes that are thin layers look so too, in a mask here and there.
        """
        found, rest = len(self.ramps), self.files - len(self.ramps)
        return found > rest or (found > 1 and self.steps > max(found, 0.8 * rest))

    @property
    def numbers_objects(self) -> bool:
        """Whether the values seem to be numbers of objects: many, and not as many in each mask."""
        most, differ = max(self.objects, default=0), len(set(self.objects) - {0})
        if self.names_single or most >= MANY:
            # Parts of one thing are one region each too; then most masks have all of them.
            counts = self.regions if self.names_single else self.objects
            share = max(map(counts.count, counts), default=0) / max(len(counts), 1)
            many = len(counts) >= 0.8 * self.files and max(counts, default=0) >= MANY
            return many and len(set(counts) - {0}) > 1 and share <= 0.5
        # With few, no mask may speak against it: classes are missing here and there.
        return len(self.objects) == self.files >= 2 * most and most >= 4 and differ >= 3

    @property
    def mixes_white(self) -> bool:
        """Whether one class is 1 in some masks and 255 in the others, by that none has both.

        Where nearly all of those without 255 have a 1, one of those with it would by chance.
        """
        ones, whites = self.masks_with[1], self.masks_with[255]
        alone = set(self.pixels) == {0, 1, 255} and not self.with_both
        return alone and min(ones, whites) > 2 and ones >= 0.9 * (len(self.sound) - whites)

    @property
    def names_single(self) -> bool:
        """Whether values are high and many or in a row, or too many and mostly in one mask each."""
        many = len(self.pixels) > MAX_MASK_VALUES
        numbers = [value for value in self.pixels if isinstance(value, int) and value]
        if any(255 < value < 65535 for value in numbers):
            return many or max(numbers) - min(numbers) == len(numbers) - 1
        return many and list(self.masks_with.values()).count(1) > SINGLE * len(self.pixels)
