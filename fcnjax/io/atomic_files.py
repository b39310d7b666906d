"""Files that are whole or absent, and where downloads are kept."""

import contextlib
import functools
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.lock_file import try_lock
from fcnjax.io.write_errors import write_error_reason


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed to it when the block ends well.

    A reader sees the old file or the new one, never half of one; after an error the old one.

    Raises:
        UserError: The file cannot be written (disk full, no permission); names it.
    """
    path = Path(path)
    temporary = descriptor = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last: image writers choose the format by it.
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
    except Exception as error:  # writers in C++ or Rust have exceptions of their own
        reason = write_error_reason(error)
        if reason is None and not isinstance(error, OSError):
            raise
        raise UserError(f"{path}: cannot be written: {reason or error}") from error
    finally:
        if descriptor is not None:
            os.close(descriptor)
        if temporary is not None:
            with contextlib.suppress(OSError):  # the error that ended the block counts
                temporary.unlink()


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Removes the temporary files of these paths whose writers were killed inside `atomic`."""
    for path in paths:
        for leftover in path.parent.glob(f".{glob.escape(path.stem)}-????????{path.suffix}"):
            with contextlib.suppress(OSError), leftover.open("ab") as file:
                if try_lock(file):
                    leftover.unlink()


def check_free(folder: str | Path) -> None:
    """Raises UserError of `--out` unless a folder can be made there; it may be an empty one."""
    folder = Path(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise UserError(f"--out: {folder} is there and not empty; give a new folder")


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, renamed to it when the block ends well.

    Raises:
        UserError: It cannot be written; names it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
            made = Path(temporary) / "model"
            made.mkdir()
            yield made
            made.rename(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all; bytes of names not in UTF-8 as escapes."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` to `path` as JSON, whole or not at all. NaN becomes null."""
    write_text(path, json.dumps(_no_nan(value), indent=2, allow_nan=False) + "\n")


def _no_nan(value: Any) -> Any:
    # JSON has no NaN; browsers and strict readers refuse it.
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change of each file: other files have others. -1: it is not there."""
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((path.name, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((path.name, -1, -1))
    return found


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: str | Path, name: str | Path, where: object) -> Path:
    """The path of a name that a list or an archive gives, which must lie in the folder.

    A name may not lead out by `..` or as an absolute path. Symbolic links are followed wherever
    they lead: they are the user's own, and sets of images are often made of them.

    Args:
        folder: What the name is relative to. An absolute name in it is valid as well.
        name: Of a file, which need not be there.
        where: What gives the name, for the error.

    Raises:
        UserError: It lies outside, or is no name that a file can have.
    """
    path = Path(folder) / name
    with contextlib.suppress(OSError, ValueError):  # too long, or with a NUL
        _refuse_invalid(path)
        inner = Path(name)
        if not inner.is_absolute() and ".." not in inner.parts:
            return path
        plain, top = (Path(os.path.normpath(Path(p).absolute())) for p in (path, folder))
        if plain.is_relative_to(top):
            return path
        # An absolute name may have the folder by another of its names.
        top, real = _real(str(top)), Path(_real(str(plain.parent)), plain.name)
        if inner.is_absolute() and (plain.is_relative_to(top) or real.is_relative_to(top)):
            return path
    raise UserError(f"{where}: {str(name)!r} is no path inside the folder {folder}")


def first_file(paths: Iterable[str | Path]) -> Path | None:
    """The first path of a file, or None; a name that no file can have is passed over."""
    # Path.is_file() raises an exception for a name that is too long, or in a closed folder.
    return next((Path(path) for path in paths if os.path.isfile(path)), None)  # noqa: PTH113


def _refuse_invalid(path: Path) -> None:
    """Raises OSError or ValueError for a name that no file can have."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()


@functools.lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    # A list names thousands of files, of few folders.
    return os.path.realpath(folder)


def cache_dir() -> Path:
    """The folder for downloads: `$FCNJAX_CACHE`, else `fcnjax` in the user's cache folder."""
    if own := os.environ.get("FCNJAX_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcnjax"
