"""Datasets of Hugging Face's library `datasets`, from the hub or from local files.

`config.data.name` is `OWNER/NAME` or `OWNER/NAME:CONFIG` on the hub, a folder written by
`save_to_disk`, a folder of Parquet or Arrow files whose names or folders state the split, as
`train-00000-of-00002.parquet`, or one such file, which is the split `train`. `config.data.root`
overrides the library's cache folder. `config.data.images` and `.masks` are columns. Splits may be
sliced, as `train[:80%]`.
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

SAVED_FILES = ("dataset_dict.json", "state.json")  # written by `save_to_disk`
BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}


class HfRecords:
    """The records of a split.

    Args:
        splits: `datasets.Dataset`s with the two columns, by split.
        spans: Split, first row, and the row after the last, of each piece.
        name: The name of the dataset.
        split: The split expression.
        columns: The columns of the image and the mask.
        folders: Folders of files that rows name instead of holding their bytes.
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
        # The rows stay on disk, and a pickle holds only file names.
        self._rows = _library().concatenate_datasets(pieces)
        self.spans = tuple(spans)
        self.span_files = tuple(_files_of(splits[key]) for key, _, _ in spans)
        self.files = _files_of(self._rows)
        self._name = name
        self._split = split
        self._columns = columns
        self._folders = folders

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        where = f"{self._name}, {self._split}, row {index}"
        try:
            row = self._rows[index]
        except Exception as error:  # libraries of the files raise many types
            raise UserError(f"{where}: cannot be read: {first_line(error)}") from error
        image, mask = (
            self._file(row[column], f"{where}, column {column}") for column in self._columns
        )
        return Record(image, mask, _stem(row[self._columns[0]]) or f"{self._split} {index}")

    def _file(self, cell: bytes | Mapping[str, Any] | None, where: str) -> File:
        """Return the image file of a cell, which holds bytes, a path, or both."""
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if content is not None:
            return Encoded(content, where, self._name)
        if isinstance(cell, Mapping) and cell.get("path"):
            for folder in self._folders:
                with contextlib.suppress(UserError):
                    return inside(folder, cell["path"], where)
            raise UserError(
                f"{where}: names the file {cell['path']!r}, which is not in the dataset's folder"
            )
        raise UserError(f"{where}: is empty")


def _files_of(rows: Any) -> tuple[Path, ...]:
    """Return the files of a `datasets.Dataset`."""
    return tuple(Path(file["filename"]) for file in rows.cache_files)


def _stem(cell: bytes | Mapping[str, Any] | None) -> str:
    """Return the name of the file from which a cell was made; "" if it is not stored."""
    path = cell.get("path") if isinstance(cell, Mapping) else None
    return Path(path or "").stem


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"config.data.source=hf: {error}; run pip install 'fcnjax[hf]'") from error
    return datasets


def _load(data: ConfigDict) -> dict[str, Any]:
    """Return the `datasets.Dataset`s by split.

    Raises:
        UserError: The dataset does not exist or cannot be read.
    """
    library = _library()
    if not data.name:
        raise UserError(
            "config.data.name: is empty; valid: a dataset of the Hugging Face hub, as OWNER/NAME, "
            "or a folder of Parquet files"
        )
    if data.root:
        data.root = str(Path(data.root).absolute())
    path = Path(data.name)
    if path.exists():
        data.name = str(path.absolute())  # valid in any working directory
    try:
        if any((path / file).is_file() for file in SAVED_FILES):
            dataset = library.load_from_disk(data.name)
        elif path.is_dir():
            dataset = library.load_dataset(data.name, cache_dir=data.root or None)
        elif path.is_file():
            dataset = _load_file(library, path, data.root)
        else:
            name, _, config = data.name.partition(":")
            dataset = library.load_dataset(name, config or None, cache_dir=data.root or None)
    except UserError:
        raise
    except Exception as error:  # files, the hub and the network raise many types
        hint = "" if path.exists() else "is not a local file or folder, and from the hub: "
        raise UserError(f"config.data.name: {data.name!r}: {hint}{first_line(error)}") from error
    return dict(dataset) if isinstance(dataset, dict) else {str(dataset.split or "train"): dataset}


def _allowed_folders(data: ConfigDict) -> list[Path]:
    """Return the folders of the dataset's files: its own, and those of downloads.

    A row may name any file of this machine; files in other folders are refused.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    config, path = _library().config, Path(data.name)
    folder = path if path.is_dir() else path.parent if path.exists() else data.root
    caches = (config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH, HF_HUB_CACHE)
    return [Path(each) for each in (folder, data.root, *caches) if each]


def _load_file(library: ModuleType, path: Path, cache: str) -> Any:
    if path.suffix not in BUILDERS:
        raise UserError(f"{path}: is not a dataset; valid: {', '.join(BUILDERS)}, or a folder")
    return library.load_dataset(
        BUILDERS[path.suffix], data_files=str(path.absolute()), cache_dir=cache or None
    )


def _image_columns(features: Mapping[str, Any]) -> list[str]:
    """Return the columns that may hold image files: images, bytes, or bytes with a path."""
    library = _library()
    return [
        name
        for name, feature in features.items()
        if isinstance(feature, library.Image)
        or (isinstance(feature, library.Value) and feature.dtype.endswith("binary"))
        or (isinstance(feature, Mapping) and "bytes" in feature)
    ]


def _select_columns(rows: Any, columns: tuple[str, str]) -> Any:
    """Return a `datasets.Dataset` with the undecoded files of two columns."""
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
        used = {name: _select_columns(splits[name], columns) for name, _, _ in spans}
        parts[part] = HfRecords(used, spans, data.name, split, columns, _allowed_folders(data))
    return parts


LAYOUT = record_layout(
    "Hugging Face datasets: config.data.name is OWNER/NAME on the hub, or a folder of Parquet",
    _open_parts,
    lambda data: {},  # columns of images have no class names
)
