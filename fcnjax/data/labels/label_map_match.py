"""Names of class ids from a label map file beside the masks."""

from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.labels.label_map_files import LabelMap, find_label_map
from fcnjax.data.labels.mask_files import read_palette
from fcnjax.data.labels.mask_set import MaskSet, join_values
from fcnjax.errors import UserError


def dataset_label_map(data: ConfigDict, masks: MaskSet) -> LabelMap | None:
    """Return the label map beside the masks or in `config.data.root`, or None."""
    root = [Path(data.root)] if data.root and Path(data.root).is_dir() else []
    return find_label_map([*masks.folders(), *root])


def match_label_map(
    data: ConfigDict, candidates: Mapping[int, Path], masks: MaskSet
) -> tuple[tuple[int, ...], str]:
    """Return the stored values of the classes in a label map file, and a note.

    A file that does not fit the masks is not used, and the note says why.

    Args:
        data: `config.data`; names and palette are filled in if the file is used.
        candidates: The values in masks that may be classes.
        masks: The masks.

    Returns:
        The values, () if no file is used; and the note, as the end of a line.
    """
    if data.class_names or not len(masks):
        return (), ""
    try:
        label_map = dataset_label_map(data, masks)
    except UserError as error:
        return (), f"; not used: {error}"
    if label_map is None:
        return (), ""
    values, reason = _values(label_map, {*candidates}, data.ignore_label, masks)
    if reason:
        return (), f"; {label_map.path.name} is not used: {reason}"
    data.class_names = tuple(entry.name for entry in label_map.entries)
    if label_map.has_colours and not data.palette:
        data.palette = tuple(entry.colour for entry in label_map.entries)
    return values, f"; names are from {label_map.path.name}"


def _values(
    label_map: LabelMap, candidates: set[int], ignore: int, masks: MaskSet
) -> tuple[tuple[int, ...], str]:
    """Return the value of each entry, or the reason why the file does not fit."""
    entries = label_map.entries
    if len(entries) < 2:
        return (), "it lists one class"
    colours = [entry.colour for entry in entries]
    palette = read_palette(masks.files[0])
    if label_map.has_colours and palette is not None and {*colours} <= {*palette}:
        values = [palette.index(colour) for colour in colours]
    elif label_map.has_colours and all(len({*colour}) == 1 for colour in colours):
        values = [colour[0] for colour in colours]  # as masks of grey levels store them
    else:
        values = [entry.value for entry in entries]
        if not (label_map.has_colours or label_map.has_values or label_map.names_background):
            return (), "its first class is not a background; give config.data.class_names"
    if len(entries) == 2 and len(candidates) == 2 and 0 in candidates and values == [0, 1]:
        values = sorted(candidates)
    outside = sorted(candidates - {*values} - {ignore})
    if outside:
        return (), f"it has no class for the value {join_values(outside)}"
    return tuple(values), ""
