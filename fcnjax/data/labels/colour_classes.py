"""Detection of the classes of masks that have a colour for each class."""

import shlex
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.class_names import colour_name
from fcnjax.data.labels.label_map_files import RGB, LabelMap
from fcnjax.data.labels.mask_files import read_colours
from fcnjax.data.labels.mask_set import MAX_MASK_VALUES, MaskSet
from fcnjax.data.labels.masks import stored_values
from fcnjax.errors import UserError, unknown

_BLACK = (0, 0, 0)
_EXAMPLE = "--config.data.labels.mask_colours='((0,0,0),(128,0,0))'"


def find_colours(data: ConfigDict, masks: MaskSet, label_map: LabelMap | None) -> str:
    """Fill in colours, stored values, names and palette.

    Args:
        data: `config.data`; values that are set are kept.
        masks: The masks.
        label_map: The file of names and colours beside them, or None.

    Returns:
        A note on what was found, as the end of a line.

    Raises:
        UserError: The config names classes, and their colours are unknown.
    """
    note = ""
    if label_map is not None and not label_map.has_colours:
        label_map = None
    if not data.labels.mask_colours:
        files = collect_colours(masks)
        note = f"; masks hold {len(files)} colours"
        if label_map is not None:
            _use_label_map(data, files, label_map)
            note += f"; names and colours are from {label_map.path.name}"
        elif data.class_names:
            raise _names_without_colours(data, files)
        else:
            data.labels.mask_colours = tuple(sorted(files))
            note += ": a class each"
    if not data.labels.mask_values:
        data.labels.mask_values = tuple(range(len(data.labels.mask_colours)))
    colours = [
        tuple(data.labels.mask_colours[stored_values(entry)[0]])
        for entry in data.labels.mask_values
    ]
    if not data.class_names:
        data.class_names = _names(colours, label_map)
    if not data.palette:
        data.palette = tuple(colours)
    return note


def _use_label_map(data: ConfigDict, files: dict[RGB, Path], label_map: LabelMap) -> None:
    """Take names and colours from a label map, in the order of the config's names if it has any."""
    colours = {entry.name: entry.colour for entry in label_map.entries}
    for colour, path in files.items():
        if colour not in colours.values():
            raise UserError(
                f"{path}: has the colour {colour}, which {label_map.path} does not list; give all "
                f"colours in class order, such as {_EXAMPLE}"
            )
    for name in data.class_names:
        if name not in colours:
            raise unknown(f"config.data.class_names, by {label_map.path}", name, colours)
    names = data.class_names or tuple(colours)
    for name, colour in colours.items():
        if name not in names and colour in files:
            ignoring = shlex.quote(f'(("{name}",""),)')
            raise UserError(
                f"config.data.class_names: leaves out {name!r} of {label_map.path}, and masks have "
                f"its colour; name it too, and --config.data.labels.label_map={ignoring} ignores it"
            )
    data.class_names = tuple(names)
    data.labels.mask_colours = tuple(colours[name] for name in names)


def _names_without_colours(data: ConfigDict, files: dict[RGB, Path]) -> UserError:
    example = ",".join(str(colour).replace(" ", "") for colour in sorted(files)[:2])
    return UserError(
        f"config.data.class_names: the masks hold {len(files)} colours, and names alone do not say "
        f"which is which; give the colours in the order of the {len(data.class_names)} names, as "
        f"--config.data.labels.mask_colours='({example},...)', or a file labelmap.txt with lines "
        f"name:r,g,b:: in {data.root}"
    )


def _names(colours: list[RGB], label_map: LabelMap | None) -> tuple[str, ...]:
    names = {entry.colour: entry.name for entry in label_map.entries} if label_map else {}
    if len(colours) == 2 and _BLACK in colours and not names:
        return tuple("background" if colour == _BLACK else "foreground" for colour in colours)
    return tuple(names.get(colour) or colour_name(colour) for colour in colours)


def collect_colours(masks: MaskSet) -> dict[RGB, Path]:
    """Return the colours in a sample of the masks, each with a file that has it.

    Raises:
        UserError: A file has too many colours for a mask, or all masks have one colour.
    """
    files: dict[RGB, Path] = {}
    for path in masks.sample().files:
        colours = np.unique(read_colours(path, masks.size(path)).reshape(-1, 3), axis=0)
        if len(colours) > MAX_MASK_VALUES:
            raise UserError(
                f"{path}: has {len(colours)} distinct colours, like a photograph, or a mask that "
                "was resized or saved as JPEG, not like a mask of classes; declare the colours in "
                f"class order, such as {_EXAMPLE}"
            )
        for colour in colours.tolist():
            files.setdefault(tuple(colour), path)
    if len(files) < 2:
        raise UserError(
            f"{masks.files[0].parent}: the masks hold one colour, and nothing to tell it from"
        )
    return files
