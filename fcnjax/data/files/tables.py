"""Tables that people write: CSV, JSON and JSON lines, entry by entry with the place of each."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.json_files import parse_json

Entries = Iterator[tuple[str, Any]]  # the file and the line or item, and what is there


def csv_entries(text: str, path: str | Path, required: Sequence[str] = ()) -> Entries:
    """The rows of a CSV text with a header, as dictionaries; blank lines are none.

    Args:
        text: The text.
        path: The file it is from.
        required: Columns that the header must have.

    Raises:
        UserError: It is not CSV, lacks a column, or a row has other cells than the header.
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


def json_entries(text: str, path: str | Path, of: str) -> Entries:
    """The items of a JSON list.

    Args:
        text: The text.
        path: The file it is from.
        of: What the list is of, for the error.

    Raises:
        UserError: It is not JSON, or no list.
    """
    items = parse_json(text, path)
    if not isinstance(items, list):
        raise UserError(f"{path}: is not a list of {of}")
    for number, item in enumerate(items, start=1):
        yield f"{path}, item {number}", item


def json_line_entries(text: str, path: str | Path) -> Entries:
    """What each line of JSON lines says; blank lines are none.

    Raises:
        UserError: A line is not JSON.
    """
    # Not splitlines(): a text of JSON may hold other ends of lines, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", parse_json(line, path, number)
