"""Finds the classes of masks that have a colour for each class."""

import shlex
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.class_names import name_of_colour
from fcnjax.data.labels.label_map_files import RGB, LabelMap
from fcnjax.data.labels.mask_files import read_colours
from fcnjax.data.labels.mask_set import MOST_IN_MASK, MaskSet
from fcnjax.data.labels.masks import values_of
from fcnjax.errors import UserError, unknown

_BLACK = (0, 0, 0)


def find_colours(data: ConfigDict, masks: MaskSet, label_map: LabelMap | None) -> str:
    """Fills in colours, stored values, names and palette.

    Args:
        data: `config.data`; what it says already stands.
        masks: The masks.
        label_map: The file of names and colours that lies beside them, if there is one.

    Returns:
        What was found, as the end of a line.

    Raises:
        UserError: The config names classes, and nothing says which colours they have.
    """
    note = ""
    if label_map is not None and not label_map.has_colours:
        label_map = None
    if not data.labels.mask_colours:
        found = look_at_colours(masks)
        note = f"; masks hold {len(found)} colours"
        if label_map is not None:
            _take_colours(data, found, label_map)
            note += f"; names and colours are from {label_map.path.name}"
        elif data.class_names:
            raise _names_without_colours(data, found)
        else:
            data.labels.mask_colours = tuple(sorted(found))
            note += ": a class each"
    if not data.labels.mask_values:
        data.labels.mask_values = tuple(range(len(data.labels.mask_colours)))
    colours = [
        tuple(data.labels.mask_colours[values_of(entry)[0]]) for entry in data.labels.mask_values
    ]
    if not data.class_names:
        data.class_names = _names(colours, label_map)
    if not data.palette:
        data.palette = tuple(colours)
    return note


def _take_colours(data: ConfigDict, found: dict[RGB, Path], label_map: LabelMap) -> None:
    """Takes names and colours from a file, in the order of the config's names if it has some."""
    colours = {entry.name: entry.colour for entry in label_map.entries}
    for colour, path in found.items():
        if colour not in colours.values():
            raise UserError(
                f"{path}: has the colour {colour}, which {label_map.path} does not list; give all "
                "colours in class order, as --config.data.labels.mask_colours='((0,0,0),(128,0,0))'"
            )
    for name in data.class_names:
        if name not in colours:
            raise unknown(f"config.data.class_names, by {label_map.path}", name, colours)
    names = data.class_names or tuple(colours)
    for name, colour in colours.items():
        if name not in names and colour in found:
            ignoring = shlex.quote(f'(("{name}",""),)')
            raise UserError(
                f"config.data.class_names: leaves out {name!r} of {label_map.path}, and masks have "
                f"its colour; name it too, and --config.data.labels.label_map={ignoring} ignores it"
            )
    data.class_names = tuple(names)
    data.labels.mask_colours = tuple(colours[name] for name in names)


def _names_without_colours(data: ConfigDict, found: dict[RGB, Path]) -> UserError:
    example = ",".join(str(colour).replace(" ", "") for colour in sorted(found)[:2])
    return UserError(
        f"config.data.class_names: the masks hold {len(found)} colours, and names alone do not say "
        f"which is which; give the colours in the order of the {len(data.class_names)} names, as "
        f"--config.data.labels.mask_colours='({example},...)', or a file labelmap.txt with lines "
        f"name:r,g,b:: in {data.root}"
    )


def _names(colours: list[RGB], label_map: LabelMap | None) -> tuple[str, ...]:
    known = {entry.colour: entry.name for entry in label_map.entries} if label_map else {}
    if len(colours) == 2 and _BLACK in colours and not known:
        return tuple("background" if colour == _BLACK else "foreground" for colour in colours)
    return tuple(known.get(colour) or name_of_colour(colour) for colour in colours)


def look_at_colours(masks: MaskSet) -> dict[RGB, Path]:
    """The colours that masks hold, each with a file that has it; reads a part of many.

    Raises:
        UserError: A file has more colours than a mask has, or all have one.
    """
    found: dict[RGB, Path] = {}
    for path in masks.looked_at().files:
        colours = np.unique(read_colours(path, masks.size(path)).reshape(-1, 3), axis=0)
        if len(colours) > MOST_IN_MASK:
            raise UserError(
                f"{path}: has {len(colours)} distinct colours, as a photograph, or a mask that was "
                "resized or saved as JPEG, has, not a mask of classes; declare the colours in "
                "class order, as --config.data.labels.mask_colours='((0,0,0),(128,0,0))'"
            )
        for colour in colours.tolist():
            found.setdefault(tuple(colour), path)
    if len(found) < 2:
        raise UserError(
            f"{masks.files[0].parent}: the masks hold one colour, and nothing to tell it from"
        )
    return found
