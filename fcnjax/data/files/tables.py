"""Parsing of tables that people write: CSV, JSON and JSON lines."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.json_files import parse_json

Entries = Iterator[tuple[str, Any]]  # the file with the line or item, and its content


def csv_entries(text: str, path: str | Path, required: Sequence[str] = ()) -> Entries:
    """Yield the rows of a CSV text with a header, as dictionaries; blank lines are skipped.

    Args:
        text: The text.
        path: Its file.
        required: Columns that the header must have.

    Raises:
        UserError: The text is not CSV, lacks a column, or a row has more or fewer cells.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = None
    try:
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                for key in required:
                    if key not in header:
                        raise UserError(f"{where}: has no column {key!r}; has {', '.join(header)}")
            elif len(cells) != len(header):
                raise UserError(f"{where}: has {len(cells)} cells for {len(header)} columns")
            else:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: is not CSV: {error}") from error


def json_entries(text: str, path: str | Path, items_name: str) -> Entries:
    """Yield the items of a JSON list.

    Args:
        text: The text.
        path: Its file.
        items_name: Description of the items, for the error.

    Raises:
        UserError: The text is not JSON, or not a list.
    """
    items = parse_json(text, path)
    if not isinstance(items, list):
        raise UserError(f"{path}: is not a list of {items_name}")
    for number, item in enumerate(items, start=1):
        yield f"{path}, item {number}", item


def json_line_entries(text: str, path: str | Path) -> Entries:
    """Yield the value of each line of JSON lines; blank lines are skipped.

    Raises:
        UserError: A line is not JSON.
    """
    # Not splitlines(): JSON text may contain other line ends, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", parse_json(line, path, number)
