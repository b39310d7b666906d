"""Reads the files of class names that tools write beside masks.

| file | what it holds | written by |
|---|---|---|
| `labelmap.txt` | `name:r,g,b:parts:actions` a line | CVAT, Datumaro |
| `label_colors.txt` | `r g b name` a line | CamVid |
| `class_dict.csv` | columns `name,r,g,b` | CamVid's copies, DeepGlobe |
| `_classes.csv` | columns `Pixel Value, Class` | Roboflow |
| `obj_class_to_machine_color.json` | `{name: [r, g, b]}` | Supervisely |
| `meta.json` | `{"classes": [{"title", "color"}]}` | Supervisely |
| `labels.txt`, `classes.txt`, `class_names.txt` | a name a line, in order of the ids | LabelMe |
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fcnjax.data.labels.class_names import class_name
from fcnjax.errors import UserError

RGB = tuple[int, int, int]
_IGNORE = "__ignore__"  # LabelMe's first line: the ids start after it
_BACKGROUNDS = ("background", "unlabeled", "unlabelled", "void", "none", "ground", "other")
_HEX = re.compile(r"#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", re.IGNORECASE)


class LabelEntry(NamedTuple):
    """A class of a label map file.

    Attributes:
        name: Its name.
        colour: Its RGB colour in masks, or None.
        value: Its id in masks.
    """

    name: str
    colour: RGB | None
    value: int


class LabelMap(NamedTuple):
    """The classes that a label map file lists.

    Attributes:
        path: The file.
        entries: The classes, in the order of their ids.
        has_values: Whether the file gives the ids; else they count the entries.
    """

    path: Path
    entries: tuple[LabelEntry, ...]
    has_values: bool

    @property
    def has_colours(self) -> bool:
        """Return whether every class has a colour."""
        return all(entry.colour for entry in self.entries)

    @property
    def names_background(self) -> bool:
        """Return whether the id 0 is named as a background; other lists may count objects alone."""
        first = self.entries[0]
        return first.value == 0 and first.name.casefold() in _BACKGROUNDS


def find_label_map(folders: Iterable[Path]) -> LabelMap | None:
    """The label map of the first of the folders that has a file of a known name; None: none has.

    Raises:
        UserError: The file cannot be read, or has two classes of a name, colour or id.
    """
    for folder in dict.fromkeys(folders):
        for name in READERS:
            path = folder / name
            if path.is_file() and (label_map := _read(path)).entries:
                return label_map
    return None


def _read(path: Path) -> LabelMap:
    try:
        rows = list(READERS[path.name](path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as a list of classes: {reason}") from error
    entries = [
        LabelEntry(class_name(name), colour, place if value is None else value)
        for place, (name, colour, value) in enumerate(rows)
    ]
    for what in LabelEntry._fields:
        found = [getattr(entry, what) for entry in entries]
        twice = [one for one in found if one is not None and found.count(one) > 1]
        if twice:
            raise UserError(f"{path}: has two classes of the {what} {twice[0]}")
    has_values = any(value is not None for _, _, value in rows)
    return LabelMap(path, tuple(sorted(entries, key=lambda entry: entry.value)), has_values)


Row = tuple[str, RGB | None, int | None]


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if (line := line.strip()) and not line.startswith("#"):
            yield line


def _colour(parts: Sequence[Any]) -> RGB:
    colour = tuple(int(part) for part in parts)
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
        raise ValueError(f"{','.join(map(str, parts))} is no RGB colour")
    return colour


def _read_labelmap(text: str) -> Iterator[Row]:
    for line in _lines(text):
        name, *rest = line.split(":")
        colour = rest[0].strip() if rest else ""
        yield name, _colour(colour.split(",")) if colour else None, None


def _read_label_colors(text: str) -> Iterator[Row]:
    for line in _lines(text):
        red, green, blue, name = line.split(maxsplit=3)
        yield name, _colour((red, green, blue)), None


def _read_csv(text: str) -> Iterator[Row]:
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    header = [name.strip().lower() for name in next(rows, [])]
    name_column = _column(header, ("name", "class", "label"))
    colours = [_column(header, names) for names in (("r", "red"), ("g", "green"), ("b", "blue"))]
    values = _column(header, ("pixel value", "value", "id", "index"))
    if name_column is None or (None in colours and values is None):
        raise ValueError(f"its columns are {', '.join(header)}; valid: name,r,g,b")
    for row in filter(any, rows):
        colour = None if None in colours else _colour([row[i].strip() for i in colours])
        yield row[name_column], colour, None if values is None else int(row[values])


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _read_colours_json(text: str) -> Iterator[Row]:
    for name, colour in json.loads(text).items():
        yield name, _colour(colour), None


def _read_meta_json(text: str) -> Iterator[Row]:
    content = json.loads(text)
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not all(isinstance(c, dict) for c in classes):
        return  # other tools call other things meta.json
    for entry in classes:
        parts = _HEX.fullmatch(entry["color"])
        if parts is None:
            raise ValueError(f"{entry['color']!r} is no colour such as #FF0000")
        yield entry["title"], _colour([int(part, 16) for part in parts.groups()]), None


def _read_names(text: str) -> Iterator[Row]:
    lines = [line for line in _lines(text) if line != _IGNORE]
    for line in lines:
        yield line, None, None


READERS: MappingProxyType[str, Callable[[str], Iterable[Row]]] = MappingProxyType(
    {
        "labelmap.txt": _read_labelmap,
        "label_colors.txt": _read_label_colors,
        "class_dict.csv": _read_csv,
        "_classes.csv": _read_csv,
        "obj_class_to_machine_color.json": _read_colours_json,
        "meta.json": _read_meta_json,
        "labels.txt": _read_names,
        "classes.txt": _read_names,
        "class_names.txt": _read_names,
    }
)
