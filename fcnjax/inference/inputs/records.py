"""Parquet files that contain images or their paths.

Row groups are read one at a time. Their rows are numbered, so that a resumed run skips the rows
that are done, and groups without remaining rows.
"""

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from fcnjax.errors import UserError
from fcnjax.inference.inputs.fetch import (
    filesystem,
    import_pyarrow,
    is_uri,
    local_path,
    read_error,
)

ROWS = 16  # rows in memory at a time
OPENERS = 16  # threads that read footers, since each waits for the network


@dataclass(frozen=True)
class Group:
    """A row group of a Parquet file with a column of image files.

    Attributes:
        file: Path or URI of the file.
        size: Size of the file in bytes.
        number: Number of the group in the file.
        column: Column of the image files.
        row: Number in the file of the first row.
        rows: Number of rows.
        first: Position in the listing of the first row.
    """

    file: str
    size: int
    number: int
    column: str
    row: int
    rows: int
    first: int


class Records(NamedTuple):
    """Rows of Parquet files.

    Attributes:
        paths: Path or URI of each row, or None if the rows contain the images.
        groups: Row groups that contain the images.
        ids: Id of each row, or None.
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
    """Read the structure of a Parquet file, or of all in a folder and its subfolders by name.

    Args:
        path: Path or URI of the file or folder.
        column: Column of paths, image files, or structs with image files as `bytes`.
        id_column: Column of ids. None: `default_id` if it exists.
        default_id: Default of `id_column`.

    Raises:
        UserError: A file cannot be read, or a column is missing or of another type.
    """
    files = _parquet_files(path)
    with ThreadPoolExecutor(OPENERS) as pool:
        footers = list(pool.map(_read_footer, files))
    if not sum(sum(footer.rows) for footer in footers):
        raise UserError(f"{path}: lists no image")
    image_columns = {_image_column(footer, column) for footer in footers}
    if len(image_columns) > 1:
        raise UserError(f"{path}: {column!r} holds paths in some files and images in others")
    (image_column,) = image_columns
    if id_column is None and default_id in footers[0].schema.names:
        id_column = default_id
    ids = _read_texts(footers, id_column) if id_column else None
    if image_column is None:
        return Records(_read_texts(footers, column), [], ids)
    return Records(None, _groups(footers, image_column), ids)


def _groups(footers: Sequence[_Footer], column: str) -> list[Group]:
    groups, first = [], 0
    for footer in footers:
        row = 0
        for number, rows in enumerate(footer.rows):
            groups.append(Group(footer.file, footer.size, number, column, row, rows, first))
            row, first = row + rows, first + rows
    return groups


def _parquet_files(path: str) -> list[str]:
    fs = import_pyarrow("fs", path)
    system, base = filesystem(path)
    try:
        (info,) = system.get_file_info([base])
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{path}: no such file or folder")
        if info.type == fs.FileType.File:
            return [path if is_uri(path) else base]
        infos = system.get_file_info(fs.FileSelector(base, recursive=True))
    except Exception as error:
        raise read_error(path, error) from error
    names = sorted(info.path for info in infos if info.path.endswith(".parquet"))
    if not names:
        raise UserError(f"{path}: has no .parquet file")
    if not is_uri(path):
        return names
    path, mark, query = path.partition("?")
    return [f"{path.rstrip('/')}{name[len(base.rstrip('/')) :]}{mark}{query}" for name in names]


def _open(file: str) -> Any:
    system, path = filesystem(file)
    return import_pyarrow("parquet", file).ParquetFile(system.open_input_file(path))


def _read_footer(file: str) -> _Footer:
    try:
        with _open(file) as parquet:
            metadata = parquet.metadata
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            system, path = filesystem(file)
            size = system.get_file_info([path])[0].size
            return _Footer(file, size, parquet.schema_arrow, rows)
    except Exception as error:
        raise read_error(file, error) from error


def _image_column(footer: _Footer, column: str) -> str | None:
    """Return the Parquet column of image files, or None if `column` contains paths."""
    import pyarrow as pa

    _require_column(footer, column)
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


def _require_column(footer: _Footer, column: str) -> None:
    if column not in footer.schema.names:
        raise UserError(
            f"{footer.file}: has no column {column!r}; has {', '.join(footer.schema.names)}; "
            "--column and --id-column name others"
        )


def _read_texts(footers: Sequence[_Footer], column: str) -> list[str]:
    for footer in footers:
        _require_column(footer, column)
    with ThreadPoolExecutor(OPENERS) as pool:
        parts = pool.map(functools.partial(_read_column, column=column), [f.file for f in footers])
        return [text for part in parts for text in part]


def _read_column(file: str, column: str) -> list[str]:
    try:
        with _open(file) as parquet:
            values = parquet.read(columns=[column])[column].to_pylist()
    except Exception as error:
        raise read_error(file, error) from error
    for row, value in enumerate(values):
        if not isinstance(value, str | int) or value == "":
            raise UserError(f"{file}, row {row}: {column!r} is {value!r}; valid: a text")
    return list(map(str, values))


def read_group(
    group: Group, rows: frozenset[int] | None = None
) -> Iterator[tuple[int, bytes | None, str | None]]:
    """Read the image files of a row group.

    Args:
        group: The group.
        rows: Rows to yield, counted from the first of the group. None: all.

    Yields:
        Row number in the group, content or None, and error or None.
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
                    if rows is None or row in rows:
                        content = value.as_py()
                        error = f"{_name(group, row)}: holds no image" if not content else None
                        yield row, content or None, error
                    row += 1
    except Exception as error:
        message = str(read_error(group.file, error))
        for rest in range(row, group.rows):
            if rows is None or rest in rows:
                yield rest, None, message


def _name(group: Group, row: int) -> str:
    return f"{group.file}#{group.row + row}"


def record_names(groups: Sequence[Group]) -> list[str]:
    """Return the name of each record in the manifest and errors: its file and row number."""
    return [_name(group, row) for group in groups for row in range(group.rows)]


def is_parquet(path: str) -> bool:
    """Return whether a list is Parquet: a `.parquet` file or a folder."""
    plain = path.partition("?")[0]
    return plain.endswith((".parquet", "/")) or (not is_uri(path) and local_path(path).is_dir())
