"""File names that are written differently in different places.

A Mac writes `é` as two characters (NFD), other systems as one (NFC); names of files from older
systems may not be UTF-8 at all, and Python then holds their bytes as surrogates.
"""

import functools
import unicodedata
from pathlib import Path


def same_name(name: str) -> str:
    """The form of a name by which it is compared with others: composed (NFC)."""
    return unicodedata.normalize("NFC", name)


def existing(path: Path) -> Path:
    """The file in the path's folder with this name in either form; the path itself if none is."""
    if path.name.isascii() or path.exists():
        return path
    status = _status(path.parent)
    return _files(path.parent, status).get(same_name(path.name), path)


def _status(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1


@functools.lru_cache(maxsize=64)
def _files(folder: Path, changed: int) -> dict[str, Path]:
    del changed  # a folder that was written to is another
    return {same_name(path.name): path for path in folder.iterdir()} if folder.is_dir() else {}


def printable(name: str) -> str:
    """The name with an escape such as `udce9` after a backslash for each byte not of UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
