"""Names of class ids from a label map file that lies beside the masks."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.labels.label_map_files import LabelMap
from fcnjax.data.labels.mask_files import read_palette
from fcnjax.data.labels.mask_set import MaskSet, listed
from fcnjax.errors import UserError


def values_by_file(
    data: ConfigDict,
    found: Mapping[int, Path],
    masks: MaskSet,
    find: Callable[[ConfigDict, MaskSet], LabelMap | None],
) -> tuple[tuple[int, ...], str]:
    """The stored values of the classes that a label map file lists, and their names.

    A file that does not fit the masks is not used; the note says why.

    Args:
        data: `config.data`; names and palette are filled in where the file is used.
        found: The values that masks hold, and that may be classes.
        masks: The masks.
        find: Finds the file.

    Returns:
        The values, () where no file is used; and a note, as the end of a line.
    """
    if data.class_names or not len(masks):
        return (), ""
    try:
        label_map = find(data, masks)
    except UserError as error:
        return (), f"; not used: {error}"
    if label_map is None:
        return (), ""
    values, reason = _values(label_map, {*found}, data.ignore_label, masks)
    if reason:
        return (), f"; {label_map.path.name} is not used: {reason}"
    data.class_names = tuple(entry.name for entry in label_map.entries)
    if label_map.has_colours and not data.palette:
        data.palette = tuple(entry.colour for entry in label_map.entries)
    return values, f"; names are from {label_map.path.name}"


def _values(
    label_map: LabelMap, found: set[int], ignore: int, masks: MaskSet
) -> tuple[tuple[int, ...], str]:
    """The value of each entry, or the reason why the file does not fit."""
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
    if len(entries) == 2 and len(found) == 2 and 0 in found and values == [0, 1]:
        values = sorted(found)
    outside = sorted(found - {*values} - {ignore})
    if outside:
        return (), f"it has no class for the value {listed(outside)}"
    return tuple(values), ""
