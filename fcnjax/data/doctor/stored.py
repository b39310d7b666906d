"""Looks at what a mask file stores, whatever a config says of it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fcnjax.data.decode import read_colours, read_mask, read_onehot, read_palette
from fcnjax.errors import UserError

FEW = 8  # distinct values, below which a mask is not suspected of blended ones
PEAK = 0.01  # of the pixels: a value that has as many is no blend
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
        objects: How many there are where each value seems to be an object's number, else 0.
    """

    path: Path
    kind: str
    size: tuple[int, int]
    lossy: bool = False
    values: Counter = field(default_factory=Counter)
    colours: dict[int, RGB] = field(default_factory=dict)
    blended: bool = False
    objects: int = 0


def look_at_mask(path: Path) -> Stored:
    """Reads a mask file.

    Raises:
        UserError: It is missing or damaged.
    """
    if path.suffix == ".npy":
        return Stored(path, "onehot", read_onehot(path).shape[:2])
    try:
        with Image.open(path) as image:
            mode, lossy = image.mode, image.format in ("JPEG", "MPO")
    except Exception as error:
        read_mask(path)  # words it
        raise UserError(f"{path}: cannot be read as an image") from error
    if mode in ("RGB", "RGBA"):
        colours = read_colours(path)
        if (colours != colours[..., :1]).any():
            return _of_colours(path, colours, lossy)
        values = colours[..., 0]
    else:
        values = read_mask(path)
    found = _histogram(values)
    palette = (read_palette(path) or []) if mode == "P" else []
    return Stored(
        path,
        "palette" if palette else "ids",
        values.shape,
        lossy,
        found,
        {value: palette[value] for value in found if value < len(palette)},
        _is_blended(values, found),
        _objects(values, found),
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
    """Whether the rare values are many, and most of their pixels stand alone.

    Classes and objects are regions, however small; what interpolation and JPEG leave along borders
    is a few pixels of one value and then another.
    """
    rare = [value for value, count in found.items() if count < PEAK * values.size]
    if len(found) < FEW or len(rare) < FEW / 2:
        return False
    inner = values[1:-1, 1:-1]
    if not inner.size:
        return False
    alike = np.zeros(inner.shape, np.uint8)
    height, width = values.shape
    for dy in range(3):
        for dx in range(3):
            alike += values[dy : height - 2 + dy, dx : width - 2 + dx] == inner
    of_rare = alike[np.isin(inner, rare)]
    # Itself and at most two neighbours: a line of one pixel's width, or less.
    return bool(of_rare.size) and float((of_rare <= 3).mean()) > 0.5


def _objects(values: np.ndarray, found: Counter) -> int:
    """The greatest number, where numbers run from 1 on and each is one connected region."""
    numbers = sorted(value for value in found if value)
    if len(numbers) < 2 or numbers != list(range(1, len(numbers) + 1)):
        return 0
    chosen = [numbers[i] for i in np.linspace(0, len(numbers) - 1, COMPONENTS_OF).astype(int)]
    torn = 0
    for number in sorted(set(chosen)):
        # The ground is a component too. One object may be hidden in part by another.
        torn += cv2.connectedComponents((values == number).astype(np.uint8))[0] != 2
        if torn > 1:
            return 0
    return len(numbers)


class StoredTally:
    """What the masks of a set store, taken together.

    Attributes:
        files: How many masks there are.
        pixels: Pixels by value, of the masks that are not blended.
        masks_with: Masks by value.
        kinds: Masks by kind; `first` has a file of each.
        palettes: The colours that each palette index was seen with.
        blended: The masks whose values are blended, and `blended_pixels` by value.
        lossy: The masks that are JPEG files.
        objects: The number of objects of each mask that seems to number them.
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
        self.sound: list[Path] = []

    def add(self, one: Stored) -> None:
        """Counts a mask."""
        self.files += 1
        self.kinds[one.kind] += 1
        self.first.setdefault(one.kind, one.path)
        if one.lossy:
            self.lossy.append(one.path)
        if one.blended:
            self.blended.append(one.path)
            if one.kind != "rgb":
                self.blended_pixels.update(one.values)
            return
        self.sound.append(one.path)
        if one.objects:
            self.objects.append(one.objects)
        for value, colour in one.colours.items():
            self.palettes.setdefault(value, set()).add(colour)
        if len(self.pixels) < MOST_COUNTED:
            self.pixels.update(one.values)
            self.masks_with.update(one.values.keys())

    @property
    def numbers_objects(self) -> bool:
        """Whether the values seem to be numbers of objects: many, and not as many in each mask."""
        return (
            len(self.objects) >= 0.8 * max(self.files, 1)
            and max(self.objects, default=0) >= 8
            and len(set(self.objects)) > 1
        )
