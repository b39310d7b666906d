"""Images that Parquet files hold or name.

A row group is the unit that is read: its rows are numbered, so that those that are done are known,
and a group whose rows are all done is not read again.
"""

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from fcnjax.errors import UserError
from fcnjax.inference.inputs.fetch import filesystem, is_uri, local_path, pyarrow_part, unreadable

ROWS = 16  # that are in memory at a time
OPENERS = 16  # files whose footers are read at a time, which a network makes wait


@dataclass(frozen=True)
class Group:
    """A row group of a Parquet file with a column of image files.

    Attributes:
        file: The file's path or URI.
        size: Its bytes.
        number: The group's number in it.
        column: What holds the image files.
        row: The number in the file of its first row.
        rows: How many it has.
        first: The place of its first row in the listing.
    """

    file: str
    size: int
    number: int
    column: str
    row: int
    rows: int
    first: int


class Records(NamedTuple):
    """What the rows of Parquet files hold.

    Attributes:
        paths: A path or URI for each row, or None: the rows hold the files.
        groups: Where those are.
        ids: The name of each row, or None.
    """

    paths: list[str] | None
    groups: list[Group]
    ids: list[str] | None


class _Footer(NamedTuple):
    file: str
    size: int
    schema: Any
    rows: list[int]  # of each group


def read_parquet(path: str, column: str, id_column: str | None, default_id: str) -> Records:
    """What is in a Parquet file, or in all of a folder and its folders, files in order of name.

    Args:
        path: The file or folder, a path or a URI.
        column: Holds paths, image files, or structs with image files as `bytes`.
        id_column: Holds names; None: `default_id`, where there is such a column.
        default_id: See there.

    Raises:
        UserError: Something cannot be read, or a column is missing or of another type.
    """
    files = _parquet_files(path)
    with ThreadPoolExecutor(OPENERS) as pool:
        footers = list(pool.map(_read_footer, files))
    if not sum(sum(footer.rows) for footer in footers):
        raise UserError(f"{path}: lists no image")
    leaves = {_leaf(footer, column) for footer in footers}
    if len(leaves) > 1:
        raise UserError(f"{path}: {column!r} holds paths in some files and images in others")
    (leaf,) = leaves
    by_id = id_column or (default_id if default_id in footers[0].schema.names else None)
    ids = _texts(footers, by_id) if by_id else None
    if leaf is None:
        return Records(_texts(footers, column), [], ids)
    return Records(None, _groups(footers, leaf), ids)


def _groups(footers: Sequence[_Footer], leaf: str) -> list[Group]:
    groups, first = [], 0
    for footer in footers:
        row = 0
        for number, rows in enumerate(footer.rows):
            groups.append(Group(footer.file, footer.size, number, leaf, row, rows, first))
            row, first = row + rows, first + rows
    return groups


def _parquet_files(path: str) -> list[str]:
    fs = pyarrow_part("fs", path)
    system, base = filesystem(path)
    try:
        (info,) = system.get_file_info([base])
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{path}: no such file or folder")
        if info.type == fs.FileType.File:
            return [path if is_uri(path) else base]
        found = system.get_file_info(fs.FileSelector(base, recursive=True))
    except Exception as error:
        raise unreadable(path, error) from error
    names = sorted(one.path for one in found if one.path.endswith(".parquet"))
    if not names:
        raise UserError(f"{path}: has no .parquet file")
    if not is_uri(path):
        return names
    path, mark, query = path.partition("?")
    return [f"{path.rstrip('/')}{name[len(base.rstrip('/')) :]}{mark}{query}" for name in names]


def _open(file: str) -> Any:
    system, path = filesystem(file)
    return pyarrow_part("parquet", file).ParquetFile(system.open_input_file(path))


def _read_footer(file: str) -> _Footer:
    try:
        with _open(file) as parquet:
            metadata = parquet.metadata
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            system, path = filesystem(file)
            size = system.get_file_info([path])[0].size
            return _Footer(file, size, parquet.schema_arrow, rows)
    except Exception as error:
        raise unreadable(file, error) from error


def _leaf(footer: _Footer, column: str) -> str | None:
    """The Parquet column of image files, or None where `column` holds paths."""
    import pyarrow as pa

    _require(footer, column)
    kind = footer.schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column, kind = f"{column}.bytes", kind.field("bytes").type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return None
    raise UserError(
        f"{footer.file}: {column!r} is of type {kind}; valid: image files (binary, or a struct "
        "with it as 'bytes'), or their paths (string)"
    )


def _require(footer: _Footer, column: str) -> None:
    if column not in footer.schema.names:
        raise UserError(
            f"{footer.file}: has no column {column!r}; has {', '.join(footer.schema.names)}; "
            "--column and --id-column name others"
        )


def _texts(footers: Sequence[_Footer], column: str) -> list[str]:
    for footer in footers:
        _require(footer, column)
    with ThreadPoolExecutor(OPENERS) as pool:
        parts = pool.map(functools.partial(_column, column=column), [f.file for f in footers])
        return [text for part in parts for text in part]


def _column(file: str, column: str) -> list[str]:
    try:
        with _open(file) as parquet:
            values = parquet.read(columns=[column])[column].to_pylist()
    except Exception as error:
        raise unreadable(file, error) from error
    for row, value in enumerate(values):
        if not isinstance(value, str | int) or value == "":
            raise UserError(f"{file}, row {row}: {column!r} is {value!r}; valid: a text")
    return list(map(str, values))


def read_group(
    group: Group, wanted: frozenset[int] | None = None
) -> Iterator[tuple[int, bytes | None, str | None]]:
    """The image files of a row group.

    Args:
        group: The group.
        wanted: The rows to yield, counted from the group's first; None: all.

    Yields:
        The row's number in the group; its content, and None; or None, and why it has none.
    """
    row = 0
    try:
        with _open(group.file) as parquet:
            batches = parquet.iter_batches(
                batch_size=ROWS, row_groups=[group.number], columns=[group.column]
            )
            for batch in batches:
                column = batch.column(0)
                if group.column not in batch.schema.names:  # a struct with `bytes`
                    column = column.field("bytes")
                for value in column:
                    if wanted is None or row in wanted:
                        content = value.as_py()
                        error = f"{_name(group, row)}: holds no image" if not content else None
                        yield row, content or None, error
                    row += 1
    except Exception as error:
        reason = unreadable(group.file, error)
        for rest in range(row, group.rows):
            if wanted is None or rest in wanted:
                yield rest, None, str(reason)


def _name(group: Group, row: int) -> str:
    return f"{group.file}#{group.row + row}"


def record_names(groups: Sequence[Group]) -> list[str]:
    """What the manifest and errors call each record: its file and its number there."""
    return [_name(group, row) for group in groups for row in range(group.rows)]


def is_parquet(path: str) -> bool:
    """Whether a list is Parquet: a file of that ending, or a folder."""
    plain = path.partition("?")[0]
    return plain.endswith((".parquet", "/")) or (not is_uri(path) and local_path(path).is_dir())
