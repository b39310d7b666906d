"""Reading of the files of class names that tools write beside masks.

| file | content | written by |
|---|---|---|
| `labelmap.txt` | `name:r,g,b:parts:actions` a line | CVAT, Datumaro |
| `label_colors.txt` | `r g b name` a line | CamVid |
| `class_dict.csv` | columns `name,r,g,b` | CamVid's copies, DeepGlobe |
| `_classes.csv` | columns `Pixel Value, Class` | Roboflow |
| `obj_class_to_machine_color.json` | `{name: [r, g, b]}` | Supervisely |
| `meta.json` | `{"classes": [{"title", "color"}]}` | Supervisely |
| `labels.txt`, `classes.txt`, `class_names.txt` | a name a line, in order of the ids | LabelMe |
"""

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from fcnjax.data.files.tables import csv_entries
from fcnjax.data.labels.class_names import check_names, class_name
from fcnjax.data.readers.errors import decode_error
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, parse_json, read_text

RGB = tuple[int, int, int]
_IGNORE = "__ignore__"  # LabelMe's first line; ids start after it
_BACKGROUNDS = ("background", "unlabeled", "unlabelled", "void", "none", "ground", "other")
_MAX_BYTES = 2**24
_MAX_VALUE = 2**31 - 1  # masks are read as int32
_HEX = re.compile(r"#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", re.IGNORECASE)


class LabelEntry(NamedTuple):
    """A class of a label map file.

    Attributes:
        name: Name of the class.
        colour: RGB colour in masks, or None.
        value: Id in masks.
    """

    name: str
    colour: RGB | None
    value: int


class LabelMap(NamedTuple):
    """The classes that a label map file lists.

    Attributes:
        path: The file.
        entries: The classes, in the order of their ids.
        has_values: Whether the file gives the ids; otherwise they count the entries.
    """

    path: Path
    entries: tuple[LabelEntry, ...]
    has_values: bool

    @property
    def has_colours(self) -> bool:
        """True if every class has a colour."""
        return all(entry.colour for entry in self.entries)

    @property
    def names_background(self) -> bool:
        """True if id 0 is named as a background; other lists may contain only objects."""
        first = self.entries[0]
        return first.value == 0 and first.name.casefold() in _BACKGROUNDS


def find_label_map(folders: Iterable[Path]) -> LabelMap | None:
    """Return the label map of the first folder that has a file of a known name, or None.

    Raises:
        UserError: The file cannot be read, or has two classes of one name, colour or id.
    """
    for folder in dict.fromkeys(folders):
        for name in READERS:
            path = folder / name
            if path.is_file() and (label_map := _read(path)).entries:
                return label_map
    return None


def _read(path: Path) -> LabelMap:
    text = read_text(path, _MAX_BYTES)
    try:
        rows = list(READERS[path.name](text, path))
    except ValueError as error:
        raise decode_error(path, str(error), "a list of classes") from error
    entries = [
        LabelEntry(class_name(name), colour, index if value is None else value)
        for index, (name, colour, value) in enumerate(rows)
    ]
    check_names([entry.name for entry in entries], path)
    for field_name in LabelEntry._fields:
        counts = Counter(getattr(entry, field_name) for entry in entries)
        for value, count in counts.items():
            if value is not None and count > 1:
                raise UserError(f"{path}: has two classes of the {field_name} {value}")
    has_values = any(value is not None for _, _, value in rows)
    return LabelMap(path, tuple(sorted(entries, key=lambda entry: entry.value)), has_values)


Row = tuple[str, RGB | None, int | None]


def _colour(parts: object) -> RGB:
    if not isinstance(parts, list) or len(parts) != 3:
        words = ",".join(map(str, parts[:5])) if isinstance(parts, list) else str(parts)
        raise ValueError(f"{words[:40]} is not an RGB colour")
    return tuple(_parse_integer(part, 255) for part in parts)


def _parse_integer(text: object, high: int) -> int:
    """Return an integer from 0 to `high`, given as a text or a number."""
    digits = str(text).strip()
    if not re.fullmatch("[0-9]{1,10}", digits) or int(digits) > high:
        raise ValueError(f"{digits[:40]!r} is not a whole number from 0 to {high}")
    return int(digits)


def _labelmap_row(line: str) -> Row:
    name, *rest = line.split(":")
    colour = rest[0].strip() if rest else ""
    return name, _colour(colour.split(",")) if colour else None, None


def _label_colors_row(line: str) -> Row:
    *colour, name = line.split(maxsplit=3)
    return name, _colour(colour), None


def _name_row(line: str) -> Row | None:
    return None if line == _IGNORE else (line, None, None)


def _read_lines(parse: Callable[[str], Row | None], text: str, path: Path) -> Iterator[Row]:
    """Yield the row of each line; blank lines and comments are skipped."""
    del path
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#") and (row := parse(line)) is not None:
            yield row


def _read_csv(text: str, path: Path) -> Iterator[Row]:
    for where, entry in csv_entries(text, path):
        row = {key.lower(): cell.strip() for key, cell in entry.items()}
        name = _cell(row, ("name", "class", "label"))
        colour = [_cell(row, names) for names in (("r", "red"), ("g", "green"), ("b", "blue"))]
        value = _cell(row, ("pixel value", "value", "id", "index"))
        if name is None or (None in colour and value is None):
            raise UserError(f"{where}: its columns are {', '.join(row)}; valid: name,r,g,b")
        yield (
            name,
            None if None in colour else _colour(colour),
            None if value is None else _parse_integer(value, _MAX_VALUE),
        )


def _cell(row: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((row[name] for name in names if name in row), None)


def _read_colours_json(text: str, path: Path) -> Iterator[Row]:
    content = parse_json(text, path)
    if not isinstance(content, dict):
        raise ValueError("it is not an object with a colour for each name")
    for name, colour in content.items():
        yield name, _colour(colour), None


def _read_meta_json(text: str, path: Path) -> Iterator[Row]:
    content = parse_json(text, path)
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not all(isinstance(c, dict) for c in classes):
        return  # other tools have other files named meta.json
    for number, entry in enumerate(classes, start=1):
        where = f"{path}, class {number}"
        colour = field(entry, "color", str, where)
        parts = _HEX.fullmatch(colour)
        if parts is None:
            raise UserError(f"{where}: {colour[:40]!r} is not a colour such as #FF0000")
        title = field(entry, "title", str, where)
        yield title, tuple(int(part, 16) for part in parts.groups()), None


READERS: MappingProxyType[str, Callable[[str, Path], Iterable[Row]]] = MappingProxyType(
    {
        "labelmap.txt": functools.partial(_read_lines, _labelmap_row),
        "label_colors.txt": functools.partial(_read_lines, _label_colors_row),
        "class_dict.csv": _read_csv,
        "_classes.csv": _read_csv,
        "obj_class_to_machine_color.json": _read_colours_json,
        "meta.json": _read_meta_json,
        "labels.txt": functools.partial(_read_lines, _name_row),
        "classes.txt": functools.partial(_read_lines, _name_row),
        "class_names.txt": functools.partial(_read_lines, _name_row),
    }
)
