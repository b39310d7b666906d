"""Finds out which classes masks hold, by looking at them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from fcnjax.data.decode import read_mask, read_palette
from fcnjax.errors import UserError

LOOKED_AT = 200  # files read to find the classes
MOST_IN_MASK = 64  # distinct values, above which a picture is not taken for a mask
DECLARE = "declare the stored values in class order, as --config.data.mask_values=0,255"
T = TypeVar("T")


def evenly(items: Sequence[T], count: int = LOOKED_AT) -> list[T]:
    """At most `count` of the items, evenly spaced, the first and the last among them."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[i] for i in np.unique(chosen.astype(int))]


def listed(values: Sequence[int]) -> str:
    """The values in a line; the first dozen of many."""
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")


def look_at_masks(paths: Sequence[Path]) -> dict[int, Path]:
    """The values that masks store, each with a file that has it; reads `LOOKED_AT` at most.

    Raises:
        UserError: A file has more values than a mask has: it is a photograph.
    """
    found: dict[int, Path] = {}
    for path in evenly(paths):
        values = np.unique(read_mask(path)).tolist()
        if len(values) > MOST_IN_MASK:
            raise UserError(
                f"{path}: has {len(values)} distinct values, as a photograph, a mask saved as "
                f"JPEG or the numbers of instances have, not a mask of classes; {DECLARE}"
            )
        for value in values:
            found.setdefault(value, path)
    return found


def values_of_classes(found: Mapping[int, Path], ignore: int) -> tuple[int, ...]:
    """The stored values in class order, from those found in the masks.

    Two values of which one is 0 are two classes, however stored; else the values are class ids,
    `ignore` apart.

    Raises:
        UserError: The values are no plausible class ids.
    """
    values = sorted(found)
    if len(values) == 2 and values[0] == 0:
        return tuple(values)
    classes = [value for value in values if value != ignore]
    if len(classes) < 2:
        path = found[values[0]]
        raise UserError(
            f"{path.parent}: the masks hold only {listed(values)}: one class, and "
            f"nothing to tell it from; {DECLARE}"
        )
    low, high = classes[0], classes[-1]
    if low < 0 or high > 255 or (high >= MOST_IN_MASK and len(classes) <= high / 2):
        raise UserError(
            f"{found[high].parent}: the masks hold the values {listed(values)}, which are no class "
            f"ids from 0 on; {DECLARE}"
        )
    # A class may be missing from the masks looked at; its id is not reused.
    return tuple(range(high + 1))


def palette_of(paths: Sequence[Path], values: Sequence[int]) -> tuple | None:
    """The classes' colours that a palette mask carries, or None."""
    palette = read_palette(paths[0])
    if palette is None or max(values) >= len(palette):
        return None
    colours = tuple(palette[value] for value in values)
    # A grey ramp is a palette in form only.
    return None if all(r == g == b for r, g, b in colours) else colours
