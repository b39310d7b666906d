"""Files of annotations: where they are, their text, and what is in them."""

import json
from collections.abc import Callable, Iterable
from glob import escape
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax.data.splits.lists import file_names
from fcnjax.errors import UserError

FARTHEST = 1e5  # pixels; a point beyond is a slip, and takes memory to draw


def annotations_file(data: ConfigDict, split: str, example: str) -> Path:
    """The file that `config.data.annotations` names: absolute, or relative to `.root`.

    Args:
        data: `config.data`.
        split: Stands for `{split}` in the name.
        example: A name, for the error.

    Raises:
        UserError: There is no such file.
    """
    if not data.annotations:
        raise UserError(f"config.data.annotations: names no file; valid: as {example}")
    root = Path(data.root)
    path = root / data.annotations.replace("{split}", split)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; config.data.annotations names it{_others(root, data)}"
        )
    return path


def _others(root: Path, data: ConfigDict) -> str:
    """The names that the files of other splits have, for an error."""
    before, found, after = data.annotations.partition("{split}")
    if not found or "{split}" in after or Path(data.annotations).is_absolute():
        return ""
    paths = root.glob(f"{escape(before)}*{escape(after)}")
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    splits = [name[len(before) : len(name) - len(after)] for name in names]
    return f"; there are files for the splits {', '.join(splits)}" if splits else ""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, less the mark that some editors put first.

    Raises:
        UserError: It is missing, or no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error


def parse_json(
    text: str, path: Path, line: int = 1, hook: Callable[[dict], Any] | None = None
) -> Any:
    """What a JSON text says.

    Args:
        text: The text.
        path: The file it is from.
        line: The line there at which it starts.
        hook: Takes each object as it is parsed, innermost first, and returns what stands for it.

    Raises:
        UserError: It is not JSON; names the line.
    """
    try:
        return json.loads(text, object_hook=hook)
    except json.JSONDecodeError as error:
        where = f"{path}, line {line + error.lineno - 1}"
        raise UserError(f"{where}: is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is not JSON: it is nested too deeply") from error


def field(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`entry[key]`.

    Raises:
        UserError: The entry is no object, lacks the key, or has a value of another type there.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where}: is not an object with keys such as {key!r}")
    if key not in entry:
        raise UserError(f"{where}: has no {key!r}")
    value = entry[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        words = " or ".join(_WORDS[k] for k in kinds)
        raise UserError(f"{where}: {key!r} is {str(value)[:40]!r}; valid: {words}")
    return value


_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def whole(entry: Any, key: str, where: str) -> int:
    """`entry[key]` as a whole number; tools also write 48 as `48.0` and `"48"`.

    Raises:
        UserError: It is missing, or is no whole number.
    """
    value = field(entry, key, (int, float, str), where)
    try:
        number = float(value)
        if not number.is_integer():
            raise ValueError
        return value if isinstance(value, int) else int(number)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where}: {key!r} is {value!r}; valid: a whole number") from error


class FilesThere:
    """Tells whether files are there: `there(path)`.

    Folders are listed instead of asking for each file, which takes long over a network.
    """

    def __init__(self):
        self._names: dict[Path, frozenset[str]] = {}

    def __call__(self, path: Path) -> bool:
        """Return whether there is such a file."""
        folder = path.parent
        if folder not in self._names:
            self._names[folder] = file_names(folder) if folder.is_dir() else frozenset()
        # Asked again: a file system may take `A.JPG` for `a.jpg`.
        return path.name in self._names[folder] or path.is_file()


def refuse_missing(files: Iterable[tuple[Path, str]]) -> None:
    """Raises UserError for the first file that is not there.

    Args:
        files: Each with the place that names it.
    """
    there = FilesThere()
    for path, where in files:
        if not there(path):
            raise UserError(f"{where}: no such file: {path}")
