"""Detection of the encoding and the classes of masks, from a sample of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.channel_classes import find_channels
from fcnjax.data.labels.colour_classes import find_colours
from fcnjax.data.labels.label_map_match import dataset_label_map, match_label_map
from fcnjax.data.labels.mask_files import (
    guess_encoding,
    read_colours,
    read_ids,
    read_onehot,
    read_palette,
)
from fcnjax.data.labels.mask_set import (
    MAX_MASK_VALUES,
    MaskSet,
    describe_values,
    evenly,
    join_values,
)
from fcnjax.data.labels.masks import ENCODINGS, stored_values
from fcnjax.data.loading.skipping import filter_readable, skips_unreadable
from fcnjax.data.readers.conversion import NO_DATA
from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError, choose
from fcnjax.io.pictures import default_palette

DECLARE = "declare the stored values in class order, such as --config.data.labels.mask_values=0,255"


def find_classes(data: ConfigDict, masks: MaskSet | Sequence[File]) -> str:
    """Fill in `config.data`: encoding, stored values, names and colours of the classes.

    Args:
        data: `config.data`; values that are set are kept.
        masks: The mask files.

    Returns:
        A note on what was found, as the end of a line; "" if everything was set.

    Raises:
        UserError: There are no masks, or their classes cannot be detected.
    """
    masks = masks if isinstance(masks, MaskSet) else MaskSet(masks)
    if skips_unreadable(data) and len(masks):
        files = filter_readable(evenly(masks.files), lambda mask: _read(mask, masks))
        masks = MaskSet(files, masks.images)
    if data.labels.encoding is None:
        data.labels.encoding = find_encoding(masks)
    choose(ENCODINGS, data.labels.encoding, "config.data.labels.encoding")
    if data.labels.encoding == "rgb":
        note = find_colours(data, masks, dataset_label_map(data, masks))
    elif data.labels.encoding == "onehot":
        note = find_channels(data, masks)
    elif data.labels.encoding == "instances":
        data.labels.mask_values = data.labels.mask_values or (0, 1)
        note = "; masks hold numbers of objects: any is the foreground"
    else:
        note = _find_values(data, masks)
    count = len(data.labels.mask_values)
    if not data.class_names:
        data.class_names = _default_names(data.labels.mask_values)
    if not data.palette and data.labels.encoding == "ids" and len(masks):
        data.palette = _palette_colours(masks.files, data.labels.mask_values) or ()
    if not data.palette:
        data.palette = default_palette(count)
    return note


def _read(mask: File, masks: MaskSet) -> object:
    """Read a mask of any encoding, for the error if it cannot be read."""
    size = masks.size(mask)
    read = {"rgb": read_colours, "onehot": read_onehot, "ids": read_ids}
    return read[guess_encoding(mask, size)](mask, size)


def find_encoding(masks: MaskSet) -> str:
    """Return the encoding that masks seem to have: `onehot`, `rgb` or `ids`.

    Raises:
        UserError: Only some masks have a channel for each class.
    """
    kinds = {guess_encoding(mask, masks.size(mask)): mask for mask in masks.sample(16).files}
    if "onehot" in kinds and len(kinds) > 1:
        other = next(mask for kind, mask in kinds.items() if kind != "onehot")
        raise UserError(
            f"{kinds['onehot']}: has a channel for each class, and {other} has not; write all "
            "masks alike"
        )
    return next((kind for kind in ("onehot", "rgb") if kind in kinds), "ids")


def _default_names(mask_values: Sequence[int | Sequence[int]]) -> tuple[str, ...]:
    """Return names for unnamed classes; of two, the one with the value 0 is the background."""
    values = [stored_values(entry) for entry in mask_values]
    if len(values) == 2 and 0 in values[0]:
        return ("background", "foreground")
    if len(values) == 2 and 0 in values[1]:
        return ("foreground", "background")
    return tuple(f"class_{i}" for i in range(len(values)))


def _find_values(data: ConfigDict, masks: MaskSet) -> str:
    if data.labels.mask_values:
        return ""
    sample = collect_values(masks, max(MAX_MASK_VALUES, len(data.class_names)))
    files = sample.files
    note = f"; masks hold {join_values(sorted(files))}"
    if void := sample.nodata - {*data.labels.ignore_values}:
        note += f", of which {join_values(sorted(void))} is the files' nodata value, and ignored"
    candidates = {
        v: path for v, path in files.items() if v not in {*data.labels.ignore_values, *void}
    }
    _refuse_single_class(candidates, void & files.keys(), data)
    used, map_note = match_label_map(data, candidates, masks)
    data.labels.mask_values = used or _class_values(candidates, files, data)
    data.labels.ignore_values = (
        *data.labels.ignore_values,
        *sorted(void - {*data.labels.mask_values}),
    )
    note += f": {len(data.labels.mask_values)} classes"
    if absent := [value for value in data.labels.mask_values if value not in files]:
        note += f" ({join_values(absent)} seen in no mask)"
    if not used:
        note += describe_values(data.class_names, data.labels.mask_values)
    return note + map_note


def _refuse_single_class(candidates: Mapping[int, Path], void: set[int], data: ConfigDict) -> None:
    """Refuse masks of one class and nodata: the nodata value may well be the background."""
    classes = {*candidates} - {data.ignore_label}
    if void and len(classes) == 1:
        values = sorted({*classes, *void})
        raise UserError(
            f"{next(iter(candidates.values())).parent}: the masks hold {join_values(values)}, and "
            f"{join_values(sorted(void))} is the files' nodata value; give "
            f"--config.data.labels.mask_values={','.join(map(str, values))} if it is a class, the "
            "background"
        )


def _class_values(
    candidates: Mapping[int, Path], files: Mapping[int, Path], data: ConfigDict
) -> tuple[int, ...]:
    """Return the stored values of the classes; one for each class that the config names.

    Args:
        candidates: The values that may be classes.
        files: All values in the masks.
        data: `config.data`.
    """
    names = len(data.class_names)
    if not names or (names == 2 and len(candidates) == 2):
        dropped = files.keys() - candidates.keys()
        values = infer_class_values(candidates, data.ignore_label)
        return tuple(v for v in values if v not in dropped)
    return tuple(range(names))


class MaskValues(NamedTuple):
    """The values that masks hold.

    Attributes:
        files: Each value, with a file that has it; without pixels that have no data.
        nodata: Nodata values of the files that may be classes.
    """

    files: dict[int, Path]
    nodata: frozenset[int]


def collect_values(masks: MaskSet, most: int) -> MaskValues:
    """Return the values in a sample of the masks.

    Raises:
        UserError: A file has more than `most` values, like a photograph.
    """
    files: dict[int, Path] = {}
    nodata = set()
    for path in masks.sample().files:
        stored = read_ids(path, masks.size(path))
        values = [value for value in np.unique(stored.values).tolist() if value != NO_DATA]
        nodata |= {stored.nodata} - {None}
        if len(values) > most:
            raise UserError(
                f"{path}: has {len(values)} distinct values, like a photograph, a mask saved as "
                f"JPEG or numbers of instances, not like a mask of classes; {DECLARE}, "
                "their names in --config.data.class_names, or "
                "--config.data.labels.encoding=instances"
            )
        for value in values:
            files.setdefault(value, path)
    return MaskValues(files, frozenset(nodata))


def infer_class_values(files: Mapping[int, Path], ignore: int) -> tuple[int, ...]:
    """Return the stored values in class order, from those in the masks.

    Two values, one of them 0, are two classes with any stored values. Otherwise values are class
    ids, except for `ignore`.

    Args:
        files: Each value, with a file that has it.
        ignore: The ignore label.

    Raises:
        UserError: The values are not plausible class ids.
    """
    values = sorted(files)
    if values and values[0] < 0:
        raise UserError(
            f"{files[values[0]]}: has the value {values[0]}, which is not a class id; "
            f"--config.data.labels.ignore_values={values[0]} ignores it"
        )
    if len(values) == 2 and values[0] == 0:
        return tuple(values)
    classes = [value for value in values if value != ignore]
    if len(classes) < 2:
        path = next(iter(files.values()), None)
        raise UserError(
            f"{path and path.parent}: the masks hold only {join_values(values)}: one class, and "
            f"nothing to tell it from; {DECLARE}"
        )
    high = classes[-1]
    if high > 255 or (high >= MAX_MASK_VALUES and len(classes) <= high / 2):
        raise UserError(
            f"{files[high].parent}: the masks hold the values {join_values(values)}, which are not "
            f"class ids from 0 on; {DECLARE}"
        )
    # A class may be absent from the sample; its id is not reused.
    return tuple(range(high + 1))


def _palette_colours(paths: Sequence[File], values: Sequence[int]) -> tuple | None:
    """Return the classes' colours in the palette of the first mask, or None."""
    palette = read_palette(paths[0])
    first = [stored_values(entry)[0] for entry in values]
    if palette is None or max(first) >= len(palette):
        return None
    colours = tuple(palette[value] for value in first)
    # A grey ramp says nothing about colours.
    return None if all(r == g == b for r, g, b in colours) else colours
