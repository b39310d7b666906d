"""Files that are written atomically, checked paths, and the folder of downloads."""

import contextlib
import functools
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.lock_file import try_lock
from fcnjax.io.regular_files import write_error_reason, writing


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed to it if the block succeeds.

    A reader sees either the old file or the new one, and after an error the old one.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    temporary = descriptor = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last, since image writers choose the format by it.
        descriptor, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        temporary = Path(name)
        try_lock(descriptor)  # for `remove_leftovers`
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except UserError:
        raise
    except Exception as error:  # writers in C++ or Rust raise other exceptions
        reason = write_error_reason(error)
        if reason is None and not isinstance(error, OSError):
            raise
        raise UserError(f"{path}: cannot be written: {reason or error}") from error
    finally:
        if descriptor is not None:
            os.close(descriptor)
        if temporary is not None:
            with contextlib.suppress(OSError):  # the error of the block is the one to raise
                temporary.unlink()


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove temporary files of these paths that killed processes left."""
    for path in paths:
        for leftover in path.parent.glob(f".{glob.escape(path.stem)}-????????{path.suffix}"):
            with contextlib.suppress(OSError), leftover.open("ab") as file:
                if try_lock(file):
                    leftover.unlink()


def check_free(folder: str | Path) -> None:
    """Raise UserError for `--out` unless the folder is new or empty."""
    folder = Path(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise UserError(f"--out: {folder} exists and is not empty; give a new folder")


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which is renamed to it if the block succeeds.

    Raises:
        UserError: It cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
            folder = Path(temporary) / "model"
            folder.mkdir()
            yield folder
            folder.rename(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a text to a file atomically. Bytes of file names that are not UTF-8 become escapes."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(
    path: str | Path, value: Any, tables: Mapping[str, Iterable[Sequence[int]]] | None = None
) -> None:
    """Write a value to a file as JSON atomically, with null for NaN.

    Args:
        path: The file.
        value: The value; a dict with at least one key if there are tables.
        tables: Rows of integers by their keys in the dict, written with one row a line: with one
            number a line, a table takes three times the space.
    """
    text = json.dumps(_no_nan(value), indent=2, allow_nan=False)
    for key, rows in (tables or {}).items():
        lines = ",\n".join("    " + json.dumps(row, separators=(",", ":")) for row in rows)
        text = f"{text[:-2]},\n  {json.dumps(key)}: [\n{lines}\n  ]\n}}"
    write_text(path, text + "\n")


def _no_nan(value: Any) -> Any:
    # JSON has no NaN; browsers and strict parsers reject it.
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return name, size and time of change of each file, to notice changes; -1 if missing."""
    result = []
    for path in paths:
        try:
            status = path.stat()
            result.append((path.name, status.st_size, status.st_mtime_ns))
        except OSError:
            result.append((path.name, -1, -1))
    return result


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: str | Path, name: str | Path, origin: object) -> Path:
    """Return the path of a name from a list or an archive, which must be inside the folder.

    The name must not lead out of the folder by `..` or as an absolute path. Symbolic links may:
    the user made them, and datasets often consist of links.

    Args:
        folder: The folder. An absolute name inside it is valid as well.
        name: The name of a file, which need not exist.
        origin: The list or archive, for the error.

    Raises:
        UserError: The path is outside, or no file can have this name.
    """
    path = Path(folder) / name
    with contextlib.suppress(OSError, ValueError):  # too long, or contains a NUL
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
        inner = Path(name)
        if not inner.is_absolute() and ".." not in inner.parts:
            return path
        plain, top = (Path(os.path.normpath(Path(p).absolute())) for p in (path, folder))
        if plain.is_relative_to(top):
            return path
        # An absolute name may use another name of the folder.
        top, real = _real(str(top)), Path(_real(str(plain.parent)), plain.name)
        if inner.is_absolute() and (plain.is_relative_to(top) or real.is_relative_to(top)):
            return path
    raise UserError(f"{origin}: {str(name)!r} is not a path inside the folder {folder}")


def first_file(paths: Iterable[str | Path]) -> Path | None:
    """Return the first path that is a file, or None. Impossible names are skipped."""
    # Path.is_file() raises for a name that is too long or in a folder without permission.
    return next((Path(path) for path in paths if os.path.isfile(path)), None)  # noqa: PTH113


@functools.lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    # A list has thousands of files in few folders.
    return os.path.realpath(folder)


def cache_dir() -> Path:
    """Return the folder for downloads: `$FCNJAX_CACHE`, or `fcnjax` in the user's cache folder."""
    if folder := os.environ.get("FCNJAX_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcnjax"
