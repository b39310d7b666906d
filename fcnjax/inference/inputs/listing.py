"""What to label: files, folders and globs, or a list of them, or records of Parquet files.

A list is a text file with a path or URI a line; a CSV file with a header; a JSON file, a list of
paths or of objects; or JSON lines. A path in it is relative to the list's folder.
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
from fcnjax.inference.media.media_types import form_of
from fcnjax.inference.outputs.names import name_by_path, refuse_equal, safe_name, without_ending
from fcnjax.inference.runners.local import Item

COLUMN, ID_COLUMN = "image", "id"


@dataclass(frozen=True)
class Listing:
    """Images in order; each has a place, a name that no other has, and a source.

    Attributes:
        ids: The first part of the names of each one's outputs.
        sources: Its absolute path or URI; of a record, the file and the record's number.
        groups: Where the records of Parquet files are; empty where `sources` are files.
        notes: Lines on what was left out.
    """

    ids: Sequence[str]
    sources: Sequence[str]
    groups: Sequence[Group] = ()
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def items(self) -> Iterator[Item]:
        """The images, one after another; records with their content."""
        if not self.groups:
            yield from map(Item, range(len(self)), self.ids, self.sources)
        for group in self.groups:
            for row, content, error in read_group(group):
                index = group.first + row
                yield Item(index, self.ids[index], self.sources[index], content, error)

    def sha256(self) -> str:
        """A hash of what is to be labelled and how it is named, by which a listing is known."""
        found = hashlib.sha256()
        for one in zip(self.ids, self.sources, strict=True):
            found.update("\0".join(one).encode(errors="surrogateescape") + b"\n")
        for group in self.groups:
            found.update(repr(group).encode())
        return found.hexdigest()


def name_by_stem(inputs: Inputs) -> Listing:
    """Make the listing of files whose outputs are named after them, below the folder given.

    A video or volume beside a picture of its name keeps its ending: `clip.mp4` and `clip.jpg`.

    Raises:
        UserError: Two would write the same output.
    """
    stems: dict[str, Path] = {}
    ids: dict[Path, str] = {}
    has_form = {path: form_of(str(path)) is not None for path in inputs.paths}
    for path in sorted(inputs.paths, key=has_form.__getitem__):
        stem = without_ending(name := inputs.paths[path])
        if stem in stems and has_form[path]:
            stem = name
        if stem in stems:
            raise UserError(
                f"{path}: would overwrite the output of {stems[stem]}, which has the same name"
            )
        stems[stem], ids[path] = path, stem
    sources = list(map(str, inputs.paths))
    return Listing([ids[path] for path in inputs.paths], sources, notes=inputs.notes)


def list_files(arguments: Iterable[str], out: str = "") -> Listing:
    """Make the listing of arguments as `find_inputs` takes them, or URIs of images.

    Raises:
        UserError: One names nothing.
    """
    arguments = list(arguments)
    found = find_inputs([word for word in arguments if not is_uri(word)], out)
    sources = [word for word in arguments if is_uri(word)]
    sources += [str(path.absolute()) for path in found.paths]
    sources = list(dict.fromkeys(sources))
    return Listing(name_by_path(sources), sources, notes=found.notes)


def read_listing(path: str, column: str | None = None, id_column: str | None = None) -> Listing:
    """Reads a list of images.

    Args:
        path: The list: `.txt`, `.csv`, `.json`, `.jsonl`; a `.parquet` file, or a folder of them.
        column: What holds the image, or its path or URI; None: `image`.
        id_column: What holds each one's name; None: `id` where there is one, else images are named
            by their paths.

    Raises:
        UserError: It cannot be read, or a line has no image or a name that another has; names it.
    """
    if is_parquet(path):
        return _parquet_listing(path, column or COLUMN, id_column)
    read = choose(READERS, Path(path).suffix.lower(), f"{path}: the list's ending")
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error
    paths, ids = _columns(read(text, path, column or COLUMN), column or COLUMN, id_column)
    if not paths:
        raise UserError(f"{path}: lists no image")
    return _named(paths, ids, path)


def _columns(
    entries: Iterable[tuple[str, dict]], column: str, id_column: str | None
) -> tuple[list[str], list[str] | None]:
    """The paths, and the names if there are some, of a list; its entries are not kept."""
    paths: list[str] = []
    ids: list[str] = []
    for where, entry in entries:
        if not paths and id_column is None and ID_COLUMN in entry:
            id_column = ID_COLUMN
        paths.append(_value(entry, column, where))
        if id_column is not None:
            ids.append(_value(entry, id_column, where))
    return paths, None if id_column is None else ids


def _named(paths: Sequence[str], ids: Sequence[str] | None, path: str) -> Listing:
    """The listing of paths that a list gives, relative to it or not."""
    folder = path.rpartition("/")[0] if is_uri(path) else str(local_path(path).absolute().parent)
    sources = [_absolute(source, folder) for source in paths]
    if ids is None:
        sources = list(dict.fromkeys(sources))
        return Listing(name_by_path(sources), sources)
    names = [safe_name(name) for name in ids]
    refuse_equal(names, sources)
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
    found = read_parquet(path, column, id_column, ID_COLUMN)
    if found.paths is not None:
        return _named(found.paths, found.ids, path)
    sources = record_names(found.groups)
    if found.ids is not None:
        names = [safe_name(name) for name in found.ids]
    else:
        files = list(dict.fromkeys(group.file for group in found.groups))
        stems = dict(zip(files, name_by_path(files), strict=True))
        names = [
            f"{stems[group.file]}/{group.row + row:08}"
            for group in found.groups
            for row in range(group.rows)
        ]
    refuse_equal(names, sources)
    return Listing(names, sources, found.groups)
