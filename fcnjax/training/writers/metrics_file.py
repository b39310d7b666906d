"""The file metrics.jsonl: one JSON object for each step that is logged.

It is read with limits, since it may be large, incomplete or damaged.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic
from fcnjax.io.json_files import parse_json
from fcnjax.io.regular_files import writing

METRICS_FILE = "metrics.jsonl"
EVAL_PREFIX = "eval/"  # of the names of an evaluation's metrics
MAX_LINE = 4 * 2**20  # characters: the scores of 2,000 classes
MAX_VALUES = 5_000_000  # in a file that is read into memory
MAX_STEP = 2**31 - 1


class JsonlWriter:
    """Writes `metrics.jsonl`.

    Args:
        workdir: Folder of the file.
        start_step: Step from which the run continues. Lines about later steps are removed; at 0,
            all lines.

    Raises:
        UserError: The file cannot be written or contains something other than metrics.
    """

    def __init__(self, workdir: str | Path, start_step: int = 0):
        self._path = path = Path(workdir) / METRICS_FILE
        if path.exists():
            with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                # A new run writes its step 0 again, too.
                for line, values in read_lines(path) if start_step else ():
                    if values["step"] <= start_step:
                        file.write(line)
        with writing(path):
            self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line.

        Raises:
            UserError: The file cannot be written.
        """
        # JSON has no NaN and no infinity.
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        with writing(self._path):
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with writing(self._path):
            self._file.close()


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
        values = _parse(line)
        if values is None:
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


def _parse(line: str) -> dict[str, Any] | None:
    """Return the values of a line; None if it is not an object with a step and numbers."""
    try:
        values = parse_json(line, METRICS_FILE) if len(line) <= MAX_LINE else None
    except UserError:
        return None
    step = values.get("step") if isinstance(values, dict) else None
    if type(step) is not int or not 0 <= step <= MAX_STEP:
        return None
    numbers = [value for value in values.values() if value is not None]
    is_valid = all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
    return values if is_valid else None
