"""Summaries of mask files: what they store, whatever a config says about them."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from fcnjax.data.labels.classes import evenly
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
from fcnjax.validate.blending import is_blended, ramp_share

MAX_COMPONENTS = 12  # values of a mask whose connected components are counted
MANY_OBJECTS = 8  # in a mask: more than a dataset has classes, if the numbers of masks differ

RGB = tuple[int, int, int]


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
    for number in evenly(numbers, MAX_COMPONENTS) if numbers else ():
        # The background is a component too. One object may be split by another in front of it.
        num_split += cv2.connectedComponents((values == number).astype(np.uint8))[0] != 2
        if num_split > (len(numbers) >= MANY_OBJECTS):
            return None
    return len(numbers)
