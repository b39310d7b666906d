"""Images and masks that a list names: CSV, JSON or JSON lines.

`config.data.annotations` is the list. A CSV file has a header with the columns `image`, `mask` and,
if wanted, `split`; a JSON file is a list of objects with these keys, and JSON lines are an object a
line. Paths are relative to `config.data.root`, or to the list's folder where that is empty; none
may lead out of it. Without `split` a part is held out by `config.data.eval_fraction`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from fcnjax.data.annotations.annotation_files import annotations_file, refuse_missing
from fcnjax.data.files.file_names import find_existing
from fcnjax.data.files.tables import Entries, csv_entries, json_entries, json_line_entries
from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.labels.mask_set import mask_set
from fcnjax.data.layout import PARTS, Layout, choose_split, require_root
from fcnjax.data.loading.skipping import skips
from fcnjax.data.pairs import Pair, PairSource, check_sizes
from fcnjax.data.splits.lists import hold_out, refuse_folds
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import inside
from fcnjax.io.json_files import field, read_text


class Row(NamedTuple):
    """A row of a list.

    Attributes:
        where: The file and the line or item.
        image: The image file.
        mask: The mask file.
        split: The split it belongs to; None where the list does not say.
    """

    where: str
    image: Path
    mask: Path
    split: str | None


def read_rows(path: Path, root: Path) -> list[Row]:
    """The rows of a list; `split` is given in all or in none.

    Args:
        path: A `.csv`, `.json` or `.jsonl` file.
        root: What its paths are relative to, and lie in.

    Raises:
        UserError: It cannot be read, is empty, lacks a value or leads out of `root`; names the
            line or item.
    """
    read = choose(READERS, path.suffix.lower(), f"{path}: the file's ending")
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
    """The rows of `train` and `eval`, by the list's `split` or `config.data.eval_fraction`.

    Raises:
        UserError: The list cannot be read, or names no such split.
    """
    path = annotations_file(data, "", "list.csv")
    rows = read_rows(path, Path(data.root or path.parent))
    has_split = rows[0].split is not None
    kinds = {"auto": has_split, "list": True, "fraction": False}
    if not choose(kinds, data.split_by, "config.data.split_by"):
        return hold_out(rows, data, [row.image.name for row in rows])
    refuse_folds(data, "by chance, and this list has a 'split'; give config.data.split_by=fraction")
    if not has_split:
        raise UserError(f"{path}: has no 'split', which config.data.split_by='list' goes by")
    valid = list(dict.fromkeys(row.split for row in rows))
    found = {}
    for part in PARTS:
        split = choose_split(data, data[f"{part}_split"], valid)
        found[part] = [row for row in rows if row.split == split]
    return found


def divide_list(data: ConfigDict) -> dict[str, list[Pair]]:
    """The pairs of `train` and `eval`.

    Raises:
        UserError: As `find_rows`.
    """
    return {part: _pairs(rows) for part, rows in find_rows(data).items()}


def _pairs(rows: list[Row]) -> list[Pair]:
    return [(row.image, row.mask) for row in rows]


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    path = annotations_file(data, "", "list.csv")
    if not data.root:
        data.root, data.annotations = str(path.parent.absolute()), path.name
    require_root(data)
    parts = find_rows(data)
    everything = [row for rows in parts.values() for row in rows]
    refuse_missing((file, row.where) for row in everything for file in (row.image, row.mask))
    pairs = _pairs(everything)
    turned = resolve_mask_exif(data, pairs)
    if not skips(data):  # else it is left to reading
        check_sizes(pairs, data.mask_exif)
    note = f"{path}: {len(parts['train'])} images to train on, {len(parts['eval'])} held out"
    notes = [note + find_classes(data, mask_set(pairs)), *turned]
    if both := len(set(_pairs(parts["train"])) & set(_pairs(parts["eval"]))):
        notes.append(f"{path}: {both} images are in both splits: the score will flatter")
    return notes


LAYOUT = Layout(
    "a CSV or JSON list of images and masks, config.data.annotations",
    _resolve,
    lambda config, part: PairSource(divide_list(config.data)[part], config.data),
    divides=True,
)
