"""Images and masks named in a list: CSV, JSON or JSON lines.

`config.data.annotations` is the list. A CSV file has a header with the columns `image`, `mask` and
optionally `split`; a JSON file is a list of objects with these keys, and JSON lines are one object
per line. Paths are relative to `config.data.root`, or to the folder of the list if that is empty,
and must stay inside it. Without `split`, `config.data.split.eval_fraction` is held out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from fcnjax.data.annotations.annotation_files import annotations_file, refuse_missing
from fcnjax.data.files.folders import find_existing
from fcnjax.data.files.tables import Entries, csv_entries, json_entries, json_line_entries
from fcnjax.data.layout import (
    PARTS,
    Layout,
    choose_split,
    require_root,
    resolve_pairs,
    splits_by_list,
)
from fcnjax.data.pairs import Pair, PairSource
from fcnjax.data.splits.lists import hold_out
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import inside
from fcnjax.io.json_files import field, read_text


class Row(NamedTuple):
    """A row of a list.

    Attributes:
        where: The file and the line or item.
        image: The image file.
        mask: The mask file.
        split: The split; None if the list does not state it.
    """

    where: str
    image: Path
    mask: Path
    split: str | None


def read_rows(path: Path, root: Path) -> list[Row]:
    """Read the rows of a list; `split` is required in all rows if one has it.

    Args:
        path: A `.csv`, `.json` or `.jsonl` file.
        root: The folder to which paths are relative, and which they must not leave.

    Raises:
        UserError: The list cannot be read, is empty, lacks a value or has a path that leaves
            `root`; names the line or item.
    """
    read = choose(READERS, path.suffix.lower(), f"{path}: the file's suffix")
    entries = list(read(read_text(path), path))
    if not entries:
        raise UserError(f"{path}: lists no image")
    has_split = any(isinstance(entry, dict) and "split" in entry for _, entry in entries)
    rows = []
    for where, entry in entries:
        keys = ("image", "mask", "split") if has_split else ("image", "mask")
        values = [field(entry, key, str, where).strip() for key in keys]
        for key, value in zip(keys, values, strict=True):
            if not value:
                raise UserError(f"{where}: {key!r} is empty")
        split = values[2] if has_split else None
        image, mask = (find_existing(inside(root, value, where)) for value in values[:2])
        rows.append(Row(where, image, mask, split))
    return rows


READERS: dict[str, Callable[[str, Path], Entries]] = {
    ".csv": lambda text, path: csv_entries(text, path, ("image", "mask")),
    ".json": lambda text, path: json_entries(text, path, "objects with 'image' and 'mask'"),
    ".jsonl": json_line_entries,
}


def find_rows(data: ConfigDict) -> dict[str, list[Row]]:
    """Return the rows of `train` and `eval`, by the `split` of the list or at random.

    Raises:
        UserError: The list cannot be read, or has no such split.
    """
    path = annotations_file(data, "", "list.csv")
    rows = read_rows(path, Path(data.root or path.parent))
    has_split = rows[0].split is not None
    if not splits_by_list(data, has_split, "this list has a 'split'"):
        return hold_out(rows, data, [row.image.name for row in rows])
    if not has_split:
        raise UserError(f"{path}: has no 'split', which config.data.split.by='list' needs")
    valid = list(dict.fromkeys(row.split for row in rows))
    parts = {}
    for part in PARTS:
        split = choose_split(data, data.split[part], valid)
        parts[part] = [row for row in rows if row.split == split]
    return parts


def split_list(data: ConfigDict) -> dict[str, list[Pair]]:
    """Return the pairs of `train` and `eval`.

    Raises:
        UserError: As `find_rows`.
    """
    return _pairs(find_rows(data))


def _pairs(parts: dict[str, list[Row]]) -> dict[str, list[Pair]]:
    return {part: [(row.image, row.mask) for row in rows] for part, rows in parts.items()}


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    path = annotations_file(data, "", "list.csv")
    if not data.root:
        data.root, data.annotations = str(path.parent.absolute()), path.name
    require_root(data)
    parts = find_rows(data)
    rows = [row for each in parts.values() for row in each]
    refuse_missing((file, row.where) for row in rows for file in (row.image, row.mask))
    return resolve_pairs(data, _pairs(parts), path)


LAYOUT = Layout(
    "a CSV or JSON list of images and masks, config.data.annotations",
    _resolve,
    lambda config, part: PairSource(split_list(config.data)[part], config.data),
    can_split=True,
)
