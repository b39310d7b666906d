"""Listings of inputs: files, folders and globs, list files, and Parquet records.

A list file is a text file with a path or URI per line, a CSV file with a header, a JSON file with a
list of paths or objects, or JSON lines. A path in it is relative to the folder of the list file.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcnjax.data.files.tables import Entries, csv_entries, json_entries, json_line_entries
from fcnjax.errors import UserError, choose
from fcnjax.inference.inputs.arguments import Inputs, find_inputs
from fcnjax.inference.inputs.fetch import is_uri, local_path, read_bytes
from fcnjax.inference.inputs.records import (
    Group,
    is_parquet,
    read_group,
    read_parquet,
    record_names,
)
from fcnjax.inference.items import InputItem
from fcnjax.inference.media.media_types import detect_media_type
from fcnjax.inference.outputs.names import (
    check_unique,
    escape_name,
    names_from_paths,
    strip_suffix,
)

COLUMN, ID_COLUMN = "image", "id"  # default column names


@dataclass(frozen=True)
class Listing:
    """Inputs in order, each with a position, a unique id and a source.

    Attributes:
        ids: Stems of the output file names.
        sources: Absolute paths or URIs; for records, the file and the number of the record.
        groups: Row groups of Parquet records; empty if `sources` are files.
        notes: Notes on files that were skipped.
    """

    ids: Sequence[str]
    sources: Sequence[str]
    groups: Sequence[Group] = ()
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def items(self) -> Iterator[InputItem]:
        """Yield the inputs in order, records with their content."""
        if not self.groups:
            yield from map(InputItem, range(len(self)), self.ids, self.sources)
        for group in self.groups:
            for row, content, error in read_group(group):
                index = group.first + row
                yield InputItem(index, self.ids[index], self.sources[index], content, error)

    def sha256(self) -> str:
        """Return a hash of the inputs and their names, which identifies the listing."""
        digest = hashlib.sha256()
        for entry in zip(self.ids, self.sources, strict=True):
            digest.update("\0".join(entry).encode(errors="surrogateescape") + b"\n")
        for group in self.groups:
            digest.update(repr(group).encode())
        return digest.hexdigest()


def list_by_stem(inputs: Inputs) -> Listing:
    """Return the listing of files whose outputs are named after them, below the given folder.

    A video or volume beside an image of its name keeps its suffix: `clip.mp4` and `clip.jpg`.

    Raises:
        UserError: Two files would write the same output.
    """
    stems: dict[str, Path] = {}
    ids: dict[Path, str] = {}
    is_media = {path: detect_media_type(str(path)) is not None for path in inputs.paths}
    for path in sorted(inputs.paths, key=is_media.__getitem__):
        stem = strip_suffix(name := inputs.paths[path])
        if stem in stems and is_media[path]:
            stem = name
        if stem in stems:
            raise UserError(
                f"{path}: would overwrite the output of {stems[stem]}, which has the same name"
            )
        stems[stem], ids[path] = path, stem
    sources = list(map(str, inputs.paths))
    return Listing([ids[path] for path in inputs.paths], sources, notes=inputs.notes)


def list_files(arguments: Iterable[str], out: str = "") -> Listing:
    """Return the listing of arguments as `find_inputs` takes them, or URIs of images.

    Raises:
        UserError: An argument matches nothing.
    """
    arguments = list(arguments)
    inputs = find_inputs([word for word in arguments if not is_uri(word)], out)
    sources = [word for word in arguments if is_uri(word)]
    sources += [str(path.absolute()) for path in inputs.paths]
    sources = list(dict.fromkeys(sources))
    return Listing(names_from_paths(sources), sources, notes=inputs.notes)


def read_listing(path: str, column: str | None = None, id_column: str | None = None) -> Listing:
    """Read a list file.

    Args:
        path: A `.txt`, `.csv`, `.json`, `.jsonl` or `.parquet` file, or a folder of Parquet files.
        column: Column of the images, or of their paths or URIs. None: `image`.
        id_column: Column of the ids. None: `id` if it exists, else ids are made from the paths.

    Raises:
        UserError: The list cannot be read, an entry has no image, or an id is used twice.
    """
    column = column or COLUMN
    if is_parquet(path):
        return _parquet_listing(path, column, id_column)
    read = choose(READERS, Path(path).suffix.lower(), f"{path}: the list's ending")
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error
    paths, ids = _columns(read(text, path, column), column, id_column)
    if not paths:
        raise UserError(f"{path}: lists no image")
    return _listing(paths, ids, path)


def _columns(
    entries: Iterable[tuple[str, dict]], column: str, id_column: str | None
) -> tuple[list[str], list[str] | None]:
    """Return the paths and ids (None if there are none) of a list, without keeping its entries."""
    paths: list[str] = []
    ids: list[str] = []
    for where, entry in entries:
        if not paths and id_column is None and ID_COLUMN in entry:
            id_column = ID_COLUMN
        paths.append(_value(entry, column, where))
        if id_column is not None:
            ids.append(_value(entry, id_column, where))
    return paths, None if id_column is None else ids


def _listing(paths: Sequence[str], ids: Sequence[str] | None, path: str) -> Listing:
    """Return the listing of paths, absolute or relative to a list file."""
    folder = path.rpartition("/")[0] if is_uri(path) else str(local_path(path).absolute().parent)
    sources = [_absolute(source, folder) for source in paths]
    if ids is None:
        sources = list(dict.fromkeys(sources))
        return Listing(names_from_paths(sources), sources)
    names = [escape_name(name) for name in ids]
    check_unique(names, sources)
    return Listing(names, sources)


def _absolute(source: str, folder: str) -> str:
    if is_uri(source):
        return source
    if source.startswith("file://"):
        return str(local_path(source))
    return source if source.startswith("/") else f"{folder}/{source}"


def _value(entry: dict, column: str, where: str) -> str:
    if column not in entry:
        raise UserError(f"{where}: has no {column!r}; has {', '.join(map(repr, entry))}")
    value = entry[column]
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not text:
        raise UserError(f"{where}: {column!r} is {str(value)[:40]!r}; valid: a text")
    return text


def _read_lines(text: str, path: str, column: str) -> Iterator[tuple[str, dict]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", {column: line}


def _objects(entries: Entries, column: str) -> Iterator[tuple[str, dict]]:
    for where, entry in entries:
        if not isinstance(entry, str | dict):
            raise UserError(f"{where}: is neither a path nor an object with {column!r}")
        yield where, {column: entry} if isinstance(entry, str) else entry


def _read_json(text: str, path: str, column: str) -> Iterator[tuple[str, dict]]:
    return _objects(json_entries(text, path, f"paths, or of objects with {column!r}"), column)


Reader = Callable[[str, str, str], Iterator[tuple[str, dict]]]
READERS: dict[str, Reader] = {
    ".txt": _read_lines,
    ".csv": lambda text, path, column: csv_entries(text, path),
    ".json": _read_json,
    ".jsonl": lambda text, path, column: _objects(json_line_entries(text, path), column),
}


def _parquet_listing(path: str, column: str, id_column: str | None) -> Listing:
    records = read_parquet(path, column, id_column, ID_COLUMN)
    if records.paths is not None:
        return _listing(records.paths, records.ids, path)
    sources = record_names(records.groups)
    if records.ids is not None:
        names = [escape_name(name) for name in records.ids]
    else:
        files = list(dict.fromkeys(group.file for group in records.groups))
        stems = dict(zip(files, names_from_paths(files), strict=True))
        names = [
            f"{stems[group.file]}/{group.row + row:08}"
            for group in records.groups
            for row in range(group.rows)
        ]
    check_unique(names, sources)
    return Listing(names, sources, records.groups)
