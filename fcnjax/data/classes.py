"""Finds out which classes masks hold and how, by looking at them; and renames and merges them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.decode import (
    File,
    is_colour,
    read_colours,
    read_mask,
    read_onehot,
    read_palette,
)
from fcnjax.data.masks import ENCODINGS, values_of
from fcnjax.data.mirror import renamed_pairs
from fcnjax.data.skipping import readable, skips
from fcnjax.errors import UserError, choose, unknown
from fcnjax.pictures import default_palette

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


def find_classes(data: ConfigDict, masks: Sequence[Path]) -> str:
    """Fills in `config.data`: encoding, stored values, names and colours of the classes.

    Args:
        data: `config.data`; what it says already stands.
        masks: The mask files.

    Returns:
        What was found, as the end of a line; "" where nothing had to be looked for.

    Raises:
        UserError: The masks are none, or of classes that cannot be told by looking.
    """
    if skips(data) and len(masks):
        masks = readable(evenly(masks), _whole)
    if data.encoding is None:
        data.encoding = encoding_of(masks)
    choose(ENCODINGS, data.encoding, "config.data.encoding")
    note = {"rgb": _find_colours, "onehot": _find_channels, "instances": _two_values}.get(
        data.encoding, _find_values
    )(data, masks)
    count = len(data.mask_values)
    if not data.class_names:
        data.class_names = (
            ("background", "foreground")
            if count == 2
            else tuple(f"class_{i}" for i in range(count))
        )
    if not data.palette and data.encoding == "ids":
        data.palette = palette_of(masks, data.mask_values) or ()
    if not data.palette:
        data.palette = default_palette(count)
    return note


def _whole(mask: File) -> np.ndarray:
    return read_onehot(mask) if mask.suffix == ".npy" else read_colours(mask)


def encoding_of(masks: Sequence[Path]) -> str:
    """The encoding that masks seem to have: `onehot`, `rgb` or `ids`."""
    if masks[0].suffix == ".npy":
        return "onehot"
    return "rgb" if any(map(is_colour, evenly(masks, 16))) else "ids"


def _find_values(data: ConfigDict, masks: Sequence[Path]) -> str:
    if data.mask_values:
        return ""
    found = look_at_masks(masks)
    data.mask_values = _values(found, data)
    note = f"; masks hold {listed(sorted(found))}: {len(data.mask_values)} classes"
    if unseen := [value for value in data.mask_values if value not in found]:
        note += f" ({listed(unseen)} seen in no mask)"
    return note


def _values(found: Mapping[int, Path], data: ConfigDict) -> tuple[int, ...]:
    """The stored values of the classes: as named, if the config names the classes."""
    names = len(data.class_names)
    found = {value: path for value, path in found.items() if value not in data.ignore_values}
    if not names or (names == 2 and len(found) == 2):
        values = values_of_classes(found, data.ignore_label)
        return tuple(value for value in values if value not in data.ignore_values)
    return tuple(range(names))


def _find_colours(data: ConfigDict, masks: Sequence[Path]) -> str:
    note = ""
    if not data.mask_colours:
        found = look_at_colours(masks)
        data.mask_colours = tuple(sorted(found))
        note = f"; masks hold {len(found)} colours: a class each"
    if not data.mask_values:
        data.mask_values = tuple(range(len(data.mask_colours)))
    if not data.palette:
        data.palette = tuple(data.mask_colours[values_of(v)[0]] for v in data.mask_values)
    return note


def _find_channels(data: ConfigDict, masks: Sequence[Path]) -> str:
    if data.mask_values:
        return ""
    data.mask_values = tuple(range(read_onehot(masks[0]).shape[-1]))
    return f"; masks hold {len(data.mask_values)} channels: a class each"


def _two_values(data: ConfigDict, masks: Sequence[Path]) -> str:
    del masks
    data.mask_values = data.mask_values or (0, 1)
    return "; masks hold numbers of objects: any is the foreground"


def look_at_colours(paths: Sequence[Path]) -> dict[tuple[int, int, int], Path]:
    """The colours that masks hold, each with a file that has it; reads `LOOKED_AT` at most.

    Raises:
        UserError: A file has more colours than a mask has.
    """
    found: dict[tuple[int, int, int], Path] = {}
    for path in evenly(paths):
        colours = np.unique(read_colours(path).reshape(-1, 3), axis=0)
        if len(colours) > MOST_IN_MASK:
            raise UserError(
                f"{path}: has {len(colours)} distinct colours, as a photograph, or a mask that was "
                "resized or saved as JPEG, has, not a mask of classes; declare the colours in "
                "class order, as --config.data.mask_colours='((0,0,0),(128,0,0))'"
            )
        for colour in colours.tolist():
            found.setdefault(tuple(colour), path)
    if len(found) < 2:
        raise UserError(
            f"{paths[0].parent}: the masks hold one colour, and nothing to tell it from"
        )
    return found


def merge_classes(data: ConfigDict) -> None:
    """Applies `config.data.label_map` to the classes, and empties it.

    It holds pairs of a class and the name that it is to have. Classes of one new name become one,
    in the place of the first; those of the name "" are ignored; others stay as they are.

    Raises:
        UserError: A class that there is not, or fewer than two that are left.
    """
    new_names = dict(data.label_map)
    for old in new_names:
        if old not in data.class_names:
            raise unknown("config.data.label_map", old, dict.fromkeys(data.class_names))
    merged: dict[str, list[int]] = {}
    colours: dict[str, tuple] = {}
    dropped = []
    for name, entry, colour in zip(data.class_names, data.mask_values, data.palette, strict=True):
        new = new_names.get(name, name)
        if not new:
            dropped += values_of(entry)
            continue
        merged.setdefault(new, []).extend(values_of(entry))
        colours.setdefault(new, colour)
    if len(merged) < 2:
        raise UserError(f"config.data.label_map: leaves {len(merged)} class; two are needed")
    data.class_names = tuple(merged)
    data.mask_values = tuple(v[0] if len(v) == 1 else tuple(v) for v in merged.values())
    data.palette = tuple(colours.values())
    data.ignore_values = (*data.ignore_values, *dropped)
    data.mirror_pairs = renamed_pairs(data.mirror_pairs, new_names)
    data.label_map = ()


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
                f"JPEG or the numbers of instances have, not a mask of classes; {DECLARE}, "
                "or --config.data.encoding=instances"
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
    first = [values_of(entry)[0] for entry in values]
    if palette is None or max(first) >= len(palette):
        return None
    colours = tuple(palette[value] for value in first)
    # A grey ramp is a palette in form only.
    return None if all(r == g == b for r, g, b in colours) else colours
