"""Finds out which classes masks hold and how, by looking at them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.channel_classes import find_channels
from fcnjax.data.labels.colour_classes import find_colours
from fcnjax.data.labels.label_map_files import LabelMap, find_label_map
from fcnjax.data.labels.mask_files import (
    mask_kind,
    read_colours,
    read_ids,
    read_onehot,
    read_palette,
)
from fcnjax.data.labels.mask_set import MOST_IN_MASK, MaskSet, evenly, listed, names_of_values
from fcnjax.data.labels.masks import ENCODINGS, values_of
from fcnjax.data.labels.named_values import values_by_file
from fcnjax.data.labels.whole_numbers import NO_DATA
from fcnjax.data.loading.skipping import filter_readable, skips_unreadable
from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError, choose
from fcnjax.io.pictures import default_palette

__all__ = ["MOST_IN_MASK", "evenly", "find_classes", "listed"]

DECLARE = "declare the stored values in class order, as --config.data.labels.mask_values=0,255"


def find_classes(data: ConfigDict, masks: MaskSet | Sequence[File]) -> str:
    """Fills in `config.data`: encoding, stored values, names and colours of the classes.

    Args:
        data: `config.data`; what it says already stands.
        masks: The mask files.

    Returns:
        What was found, as the end of a line; "" where nothing had to be looked for.

    Raises:
        UserError: The masks are none, or of classes that cannot be told by looking.
    """
    masks = masks if isinstance(masks, MaskSet) else MaskSet(masks)
    if skips_unreadable(data) and len(masks):
        files = filter_readable(evenly(masks.files), lambda mask: _read(mask, masks))
        masks = MaskSet(files, masks.images)
    if data.labels.encoding is None:
        data.labels.encoding = encoding_of(masks)
    choose(ENCODINGS, data.labels.encoding, "config.data.labels.encoding")
    if data.labels.encoding == "rgb":
        note = find_colours(data, masks, _label_map(data, masks))
    elif data.labels.encoding == "onehot":
        note = find_channels(data, masks)
    elif data.labels.encoding == "instances":
        note = _two_values(data)
    else:
        note = _find_values(data, masks)
    count = len(data.labels.mask_values)
    if not data.class_names:
        data.class_names = _default_names(data.labels.mask_values)
    if not data.palette and data.labels.encoding == "ids" and len(masks):
        data.palette = palette_of(masks.files, data.labels.mask_values) or ()
    if not data.palette:
        data.palette = default_palette(count)
    return note


def _read(mask: File, masks: MaskSet) -> object:
    """Reads a mask whatever its encoding, for the error where it cannot be read."""
    size = masks.size(mask)
    kind = mask_kind(mask, size)
    return {"rgb": read_colours, "onehot": read_onehot, "ids": read_ids}[kind](mask, size)


def encoding_of(masks: MaskSet) -> str:
    """The encoding that masks seem to have: `onehot`, `rgb` or `ids`.

    Raises:
        UserError: Some have a channel for each class and others do not.
    """
    kinds = {mask_kind(mask, masks.size(mask)): mask for mask in masks.looked_at(16).files}
    if "onehot" in kinds and len(kinds) > 1:
        other = next(mask for kind, mask in kinds.items() if kind != "onehot")
        raise UserError(
            f"{kinds['onehot']}: has a channel for each class, and {other} has not; write all "
            "masks alike"
        )
    return next((kind for kind in ("onehot", "rgb") if kind in kinds), "ids")


def _default_names(mask_values: Sequence[int | Sequence[int]]) -> tuple[str, ...]:
    """Names of classes that nobody named; of two, the one with the value 0 is the background."""
    values = [values_of(entry) for entry in mask_values]
    if len(values) == 2 and 0 in values[0]:
        return ("background", "foreground")
    if len(values) == 2 and 0 in values[1]:
        return ("foreground", "background")
    return tuple(f"class_{i}" for i in range(len(values)))


def _label_map(data: ConfigDict, masks: MaskSet) -> LabelMap | None:
    root = [Path(data.root)] if data.root and Path(data.root).is_dir() else []
    return find_label_map([*masks.folders(), *root])


def _find_values(data: ConfigDict, masks: MaskSet) -> str:
    if data.labels.mask_values:
        return ""
    looked = look_at_masks(masks)
    found = dict(looked.found)
    note = f"; masks hold {listed(sorted(found))}"
    if void := looked.nodata - {*data.labels.ignore_values}:
        note += f", of which {listed(sorted(void))} is the files' value for no data, and ignored"
    left = {v: path for v, path in found.items() if v not in {*data.labels.ignore_values, *void}}
    _refuse_none_beside(left, void & found.keys(), data)
    used, words = values_by_file(data, left, masks, _label_map)
    data.labels.mask_values = used or _values(left, found, data)
    data.labels.ignore_values = (
        *data.labels.ignore_values,
        *sorted(void - {*data.labels.mask_values}),
    )
    note += f": {len(data.labels.mask_values)} classes"
    if unseen := [value for value in data.labels.mask_values if value not in found]:
        note += f" ({listed(unseen)} seen in no mask)"
    if not used:
        note += names_of_values(data.class_names, data.labels.mask_values)
    return note + words


def _refuse_none_beside(left: Mapping[int, Path], void: set[int], data: ConfigDict) -> None:
    """Refuses masks of one class and no data: the second may well be the background."""
    classes = {*left} - {data.ignore_label}
    if void and len(classes) == 1:
        values = sorted({*classes, *void})
        raise UserError(
            f"{next(iter(left.values())).parent}: the masks hold {listed(values)}, and "
            f"{listed(sorted(void))} is the files' value for no data; give "
            f"--config.data.labels.mask_values={','.join(map(str, values))} if it is a class, the "
            "background"
        )


def _values(
    left: Mapping[int, Path], found: Mapping[int, Path], data: ConfigDict
) -> tuple[int, ...]:
    """The stored values of the classes: as named, if the config names the classes.

    Args:
        left: Those found that may be classes.
        found: All that were found.
        data: `config.data`.
    """
    names = len(data.class_names)
    if not names or (names == 2 and len(left) == 2):
        dropped = found.keys() - left.keys()
        return tuple(v for v in values_of_classes(left, data.ignore_label) if v not in dropped)
    return tuple(range(names))


def _two_values(data: ConfigDict) -> str:
    data.labels.mask_values = data.labels.mask_values or (0, 1)
    return "; masks hold numbers of objects: any is the foreground"


class Looked(NamedTuple):
    """The values that masks hold.

    Attributes:
        found: Each value with a file that has it; pixels without data are left out.
        nodata: The files' values for no data that may be classes.
    """

    found: dict[int, Path]
    nodata: frozenset[int]


def look_at_masks(masks: MaskSet) -> Looked:
    """The values that masks store; reads a part of many.

    Raises:
        UserError: A file has more values than a mask has: it is a photograph.
    """
    found: dict[int, Path] = {}
    nodata = set()
    for path in masks.looked_at().files:
        stored = read_ids(path, masks.size(path))
        values = [value for value in np.unique(stored.values).tolist() if value != NO_DATA]
        nodata |= {stored.nodata} - {None}
        if len(values) > MOST_IN_MASK:
            raise UserError(
                f"{path}: has {len(values)} distinct values, as a photograph, a mask saved as "
                f"JPEG or the numbers of instances have, not a mask of classes; {DECLARE}, "
                "or --config.data.labels.encoding=instances"
            )
        for value in values:
            found.setdefault(value, path)
    return Looked(found, frozenset(nodata))


def values_of_classes(found: Mapping[int, Path], ignore: int) -> tuple[int, ...]:
    """The stored values in class order, from those found in the masks.

    Two values of which one is 0 are two classes, however stored; else the values are class ids,
    `ignore` apart.

    Raises:
        UserError: The values are no plausible class ids.
    """
    values = sorted(found)
    if values and values[0] < 0:
        raise UserError(
            f"{found[values[0]]}: has the value {values[0]}, which is no class id; "
            f"--config.data.labels.ignore_values={values[0]} ignores it"
        )
    if len(values) == 2 and values[0] == 0:
        return tuple(values)
    classes = [value for value in values if value != ignore]
    if len(classes) < 2:
        path = next(iter(found.values()), None)
        raise UserError(
            f"{path and path.parent}: the masks hold only {listed(values)}: one class, and "
            f"nothing to tell it from; {DECLARE}"
        )
    high = classes[-1]
    if high > 255 or (high >= MOST_IN_MASK and len(classes) <= high / 2):
        raise UserError(
            f"{found[high].parent}: the masks hold the values {listed(values)}, which are no class "
            f"ids from 0 on; {DECLARE}"
        )
    # A class may be missing from the masks looked at; its id is not reused.
    return tuple(range(high + 1))


def palette_of(paths: Sequence[File], values: Sequence[int]) -> tuple | None:
    """The classes' colours that a palette mask carries, or None."""
    palette = read_palette(paths[0])
    first = [values_of(entry)[0] for entry in values]
    if palette is None or max(first) >= len(palette):
        return None
    colours = tuple(palette[value] for value in first)
    # A grey ramp is a palette in form only.
    return None if all(r == g == b for r, g, b in colours) else colours
