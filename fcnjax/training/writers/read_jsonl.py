"""Read metrics.jsonl, which may be large, incomplete or damaged."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.json_files import parse_json

METRICS_FILE = "metrics.jsonl"
MAX_LINE = 4 * 2**20  # characters: the scores of 2,000 classes
MAX_VALUES = 5_000_000  # in a file that is read into memory
MAX_STEP = 2**31 - 1


def read_metrics(workdir: str | Path) -> list[dict[str, float]]:
    """Read `metrics.jsonl`.

    Returns:
        One dictionary a line, such as `{"step": 20, "loss": 0.5}`, with NaN for null. An incomplete
        last line is left out. Empty if there is no file.

    Raises:
        UserError: A line before the last is not a JSON object with a step and numbers (names the
            line), or the file has more than `MAX_VALUES` values.
    """
    path, rows, count = Path(workdir) / METRICS_FILE, [], 0
    for _, values in read_lines(path):
        count += len(values)
        if count > MAX_VALUES:
            raise UserError(f"{path}: has more than {MAX_VALUES} values")
        # A few names occur millions of times.
        rows.append({sys.intern(k): math.nan if v is None else v for k, v in values.items()})
    return rows


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line of the file and its values; leave out an incomplete last line."""
    error = None
    for number, line in enumerate(_raw_lines(path), 1):
        if error is not None:
            raise error
        # The text after the last line feed is incomplete, even if it happens to parse.
        if not line.endswith("\n") and len(line) <= MAX_LINE:
            return
        try:
            values = _parse(line, path)
        except UserError:
            # Raised only if another line follows.
            error = UserError(f"{path}: line {number} is not a line of metrics")
        else:
            yield line, values


def _raw_lines(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    if not path.is_file():
        raise UserError(f"{path}: is not a regular file")
    try:
        # Line by line, as the file may be larger than memory.
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            while line := file.readline(MAX_LINE + 1):
                yield line
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parse(line: str, path: Path) -> dict[str, Any]:
    """Return the values of a line.

    Raises:
        UserError: It is not an object with a step and numbers.
    """
    values = parse_json(line, path) if len(line) <= MAX_LINE else None
    step = values.get("step") if isinstance(values, dict) else None
    if type(step) is not int or not 0 <= step <= MAX_STEP:
        raise UserError(f"{path}: has no step")
    for value in values.values():
        if value is not None and not (type(value) in (int, float) and math.isfinite(value)):
            raise UserError(f"{path}: {str(value)[:40]} is not a number")
    return values
