"""Read untrusted JSON: with limits of depth and of numbers, and one-line errors.

Python's parser accepts integers of any size, nesting as deep as its stack, and halves of surrogate
pairs, which raise exceptions later.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.regular_files import read_file

MAX_DEPTH = 64  # annotation tools nest about ten deep
MAX_BYTES = 256 * 2**20  # of a file that fcnjax or a hub writes; annotations have no limit
_LONG_NUMBER = re.compile(r"\d{19}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(path: str | Path, max_bytes: int | None = None) -> str:
    """Read a UTF-8 text file, without the byte order mark that some editors write.

    Raises:
        UserError: It is missing, not a regular file, too large, or not UTF-8.
    """
    try:
        return read_file(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error


def read_json(path: str | Path, max_bytes: int | None = MAX_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        UserError: As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, max_bytes), path)


def parse_json(
    text: str, path: object, line: int = 1, hook: Callable[[dict], Any] | None = None
) -> Any:
    """Parse a JSON text.

    Args:
        text: The text.
        path: Its file, for errors.
        line: The line of the file at which it starts.
        hook: Takes each parsed object, innermost first, and returns its replacement.

    Raises:
        UserError: It is not JSON, is nested deeper than `MAX_DEPTH`, or contains an integer beyond
            64 bits or an unpaired surrogate.
    """
    location = f"{path}, line {line}" if line > 1 else f"{path}"
    # Floats may have as many digits, so the slower parser decides which numbers are integers.
    parse_int = _parse_int if _LONG_NUMBER.search(text) else None
    try:
        value = json.loads(text, object_hook=hook, parse_int=parse_int)
        if _is_deep(value):
            raise RecursionError
        if _SURROGATE.search(text):
            # File names that are not UTF-8 are stored with surrogateescape.
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "surrogateescape")
    except json.JSONDecodeError as error:
        location = f"{path}, line {line + error.lineno - 1}"
        raise UserError(f"{location}: is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{location}: is nested too deeply; the limit is {MAX_DEPTH}") from error
    except UnicodeEncodeError as error:
        raise UserError(f"{location}: has an unpaired surrogate, which is not text") from error
    except ValueError as error:  # of `_parse_int`
        raise UserError(f"{location}: has {error}") from error
    return value


def _parse_int(digits: str) -> int:
    # The length is checked first, as Python refuses to convert thousands of digits.
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise ValueError(f"the integer {digits[:20]}..., beyond 64 bits")
    return number


def _is_deep(value: Any) -> bool:
    """Return, without recursion, whether containers are nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def field(entry: Any, key: str, kind: type | tuple[type, ...], location: str) -> Any:
    """Return `entry[key]`.

    Raises:
        UserError: The entry is not an object, or the key is missing or of another type.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{location}: is not an object with keys such as {key!r}")
    if key not in entry:
        raise UserError(f"{location}: has no {key!r}")
    value = entry[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    # In Python a bool is an int.
    if not isinstance(value, kind) or (isinstance(value, bool) and not {bool, object} & {*kinds}):
        names = " or ".join(_TYPE_NAMES[k] for k in kinds)
        raise UserError(f"{location}: {key!r} is {str(value)[:40]!r}; valid: {names}")
    return value


_TYPE_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bool: "true or false",
}


def int_field(entry: Any, key: str, location: str) -> int:
    """Return `entry[key]` as an int; some tools write 48 as `48.0` or `"48"`.

    Raises:
        UserError: It is missing or not a whole number.
    """
    value = field(entry, key, (int, float, str), location)
    try:
        number = float(value)
        if not number.is_integer():
            raise ValueError
        return value if isinstance(value, int) else int(number)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"{location}: {key!r} is {str(value)[:40]!r}; valid: a whole number"
        ) from error
