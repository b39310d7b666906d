"""Sets of Hugging Face's `datasets`: of the hub, or of files on this disk.

`config.data.name` is `OWNER/NAME` or `OWNER/NAME:CONFIG` on the hub; or a folder that
`save_to_disk` made; or a folder of Parquet or Arrow files, whose names or folders say the split,
as `train-00000-of-00002.parquet`; or one such file, which is the split `train`.
`config.data.root` is the library's cache folder, where it is not to be its own.
`config.data.images` and `.masks` are columns. Splits may be cut, as `train[:80%]`.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from fcnjax.data.layout import PARTS
from fcnjax.data.readers.decode import Encoded, File
from fcnjax.data.records import (
    Record,
    check_split,
    choose_column,
    first_line,
    record_layout,
    split_error,
)
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside

SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes
BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}


class HfRecords:
    """The records of a split.

    Args:
        splits: The set's `datasets.Dataset` by split, of the two columns alone.
        spans: Split, first row, and the row past the last, of each piece.
        name: The set's name.
        split: The split expression that says so.
        columns: Those of the image and the mask.
        folders: Where files lie that rows name instead of holding their bytes.
    """

    def __init__(
        self,
        splits: Mapping[str, Any],
        spans: list[tuple[str, int, int]],
        name: str,
        split: str,
        columns: tuple[str, str],
        folders: Sequence[Path],
    ):
        pieces = [splits[key].select(range(start, stop)) for key, start, stop in spans]
        # Its rows stay on disk, and so its pickle holds file names.
        self._rows = _library().concatenate_datasets(pieces)
        self.spans = tuple(spans)
        self.span_files = tuple(_files_of(splits[key]) for key, _, _ in spans)
        self.files = _files_of(self._rows)
        self._set = name
        self._split = split
        self._columns = columns
        self._folders = folders

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        where = f"{self._set}, {self._split}, row {index}"
        try:
            row = self._rows[index]
        except Exception as error:  # of the files' libraries
            raise UserError(f"{where}: cannot be read: {first_line(error)}") from error
        image, mask = (
            self._file(row[column], f"{where}, column {column}") for column in self._columns
        )
        return Record(image, mask, _name(row[self._columns[0]]) or f"{self._split} {index}")

    def _file(self, cell: bytes | Mapping[str, Any] | None, where: str) -> File:
        """The image file of a cell: bytes, or both or one of bytes and a path."""
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if content is not None:
            return Encoded(content, where, self._set)
        if isinstance(cell, Mapping) and cell.get("path"):
            return self._named(cell["path"], where)
        raise UserError(f"{where}: is empty")

    def _named(self, path: str, where: str) -> Path:
        for folder in self._folders:
            with contextlib.suppress(UserError):
                return inside(folder, path, where)
        raise UserError(f"{where}: names the file {path!r}, which is not in the set's folder")


def _files_of(rows: Any) -> tuple[Path, ...]:
    """The files of a `datasets.Dataset`."""
    return tuple(Path(file["filename"]) for file in rows.cache_files)


def _name(cell: bytes | Mapping[str, Any] | None) -> str:
    """The name of the file that a cell was made of, where it is kept."""
    path = cell.get("path") if isinstance(cell, Mapping) else None
    return Path(path or "").stem


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"config.data.source=hf: {error}; run pip install 'fcnjax[hf]'") from error
    return datasets


def _load(data: ConfigDict) -> dict[str, Any]:
    """The set's `datasets.Dataset` by split.

    Raises:
        UserError: There is no such set, or it cannot be read.
    """
    library = _library()
    if not data.name:
        raise UserError(
            "config.data.name: is empty; a set of the Hugging Face hub, as OWNER/NAME, or a "
            "folder of Parquet files"
        )
    if data.root:
        data.root = str(Path(data.root).absolute())
    path = Path(data.name)
    if path.exists():
        data.name = str(path.absolute())  # it is found from any folder
    try:
        if any((path / file).is_file() for file in SAVED):
            found = library.load_from_disk(data.name)
        elif path.is_dir():
            found = library.load_dataset(data.name, cache_dir=data.root or None)
        elif path.is_file():
            found = _load_file(library, path, data.root)
        else:
            name, _, config = data.name.partition(":")
            found = library.load_dataset(name, config or None, cache_dir=data.root or None)
    except UserError:
        raise
    except Exception as error:  # of files, the hub and the network: of many types
        here = "" if path.exists() else "is no file or folder here, and from the hub: "
        raise UserError(f"config.data.name: {data.name!r}: {here}{first_line(error)}") from error
    return dict(found) if isinstance(found, dict) else {str(found.split or "train"): found}


def _folders(data: ConfigDict) -> list[Path]:
    """The folders of a set's own files: its own, and those of what was fetched or unpacked.

    A row may name any file of this machine; those of other folders are not the set's.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    config, path = _library().config, Path(data.name)
    own = path if path.is_dir() else path.parent if path.exists() else data.root
    caches = (config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH, HF_HUB_CACHE)
    return [Path(folder) for folder in (own, data.root, *caches) if folder]


def _load_file(library: ModuleType, path: Path, cache: str) -> Any:
    if path.suffix not in BUILDERS:
        raise UserError(f"{path}: is no set of images; valid: {', '.join(BUILDERS)}, or a folder")
    return library.load_dataset(
        BUILDERS[path.suffix], data_files=str(path.absolute()), cache_dir=cache or None
    )


def _image_columns(features: Mapping[str, Any]) -> list[str]:
    """The columns that may hold image files: as images, as bytes, or as bytes with a path."""
    library = _library()
    return [
        name
        for name, feature in features.items()
        if isinstance(feature, library.Image)
        or (isinstance(feature, library.Value) and feature.dtype.endswith("binary"))
        or (isinstance(feature, Mapping) and "bytes" in feature)
    ]


def _only(rows: Any, columns: tuple[str, str]) -> Any:
    """A `datasets.Dataset` with the files of two columns, not decoded."""
    library = _library()
    rows = rows.with_format(None).select_columns(list(dict.fromkeys(columns)))
    for column in columns:
        if isinstance(rows.features[column], library.Image):
            rows = rows.cast_column(column, library.Image(decode=False))
    return rows


def _open_parts(data: ConfigDict) -> dict[str, HfRecords]:
    splits = _load(data)
    valid = _image_columns(next(iter(splits.values())).features)
    columns = (choose_column(data, "images", valid), choose_column(data, "masks", valid))
    lengths = {name: len(rows) for name, rows in splits.items()}
    parts = {}
    for part in PARTS:
        split = check_split(data, part, list(splits))
        try:
            pieces = _library().ReadInstruction.from_spec(split).to_absolute(lengths)
        except (ValueError, AssertionError) as error:
            raise split_error(data, part) from error
        spans = [(piece.splitname, piece.from_, piece.to) for piece in pieces]
        used = {name: _only(splits[name], columns) for name, _, _ in spans}
        parts[part] = HfRecords(used, spans, data.name, split, columns, _folders(data))
    return parts


LAYOUT = record_layout(
    "Hugging Face datasets: config.data.name is OWNER/NAME on the hub, or a folder of Parquet",
    _open_parts,
    lambda data: {},  # columns of images have no names of classes
)
