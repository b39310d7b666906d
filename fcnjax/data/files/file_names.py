"""File names with different Unicode forms.

macOS writes `é` as two characters (NFD), other systems as one (NFC). Names from older systems may
not be UTF-8 at all, and Python then represents their bytes as surrogates.
"""

import functools
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

from fcnjax.errors import UserError


def normalize_name(name: str) -> str:
    """Return the form in which names are compared: composed (NFC)."""
    return unicodedata.normalize("NFC", name)


def find_existing(path: Path) -> Path:
    """Return the file with this name in either Unicode form; the path itself if none exists."""
    if path.name.isascii() or path.exists():
        return path
    mtime = _mtime(path.parent)
    return _files(path.parent, mtime).get(normalize_name(path.name), path)


def find_by_stem(path: Path, ends: Collection[str], message: str) -> Path:
    """Find a file by its name without the ending.

    Args:
        path: The file's path without ending; the name may be in either Unicode form.
        ends: The valid endings, in lower case.
        message: The start of the error.

    Raises:
        UserError: There is no such file, or more than one.
    """
    files = _stems(path.parent, _mtime(path.parent)).get(normalize_name(path.name), [])
    files = [file for file in files if file.suffix.lower() in ends]
    if len(files) == 1:
        return files[0]
    if files:
        raise UserError(f"{files[1]}: has the same name as {files[0].name}")
    raise UserError(
        f"{message} {path.name} in {path.parent}; valid endings: {', '.join(sorted(ends))}"
    )


def _mtime(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1


@functools.lru_cache(maxsize=64)
def _files(folder: Path, mtime: int) -> dict[str, Path]:
    del mtime  # part of the cache key
    if not folder.is_dir():
        return {}
    return {normalize_name(path.name): path for path in folder.iterdir()}


@functools.lru_cache(maxsize=64)
def _stems(folder: Path, mtime: int) -> dict[str, list[Path]]:
    stems: dict[str, list[Path]] = {}
    for name, path in sorted(_files(folder, mtime).items()):
        stems.setdefault(name.removesuffix(path.suffix), []).append(path)
    return stems


def join_names(names: Iterable[str], count: int = 3) -> str:
    """Join names in a line; only the first ones of many."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
