"""File names that are written differently in different places.

A Mac writes `é` as two characters (NFD), other systems as one (NFC); names of files from older
systems may not be UTF-8 at all, and Python then holds their bytes as surrogates.
"""

import functools
import unicodedata
from collections.abc import Collection
from pathlib import Path

from fcnjax.errors import UserError


def same_name(name: str) -> str:
    """The form of a name by which it is compared with others: composed (NFC)."""
    return unicodedata.normalize("NFC", name)


def existing(path: Path) -> Path:
    """The file in the path's folder with this name in either form; the path itself if none is."""
    if path.name.isascii() or path.exists():
        return path
    status = _status(path.parent)
    return _files(path.parent, status).get(same_name(path.name), path)


def find_by_stem(path: Path, ends: Collection[str], what: str) -> Path:
    """The file of a name without its ending.

    Args:
        path: The file's path without ending; the name may be in either form.
        ends: The endings that it may have, in small letters.
        what: The start of the error.

    Raises:
        UserError: There is no such file, or there are several.
    """
    named = _stems(path.parent, _status(path.parent)).get(same_name(path.name), [])
    found = [file for file in named if file.suffix.lower() in ends]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{found[1]}: has the same name as {found[0].name}")
    raise UserError(
        f"{what} {path.name} in {path.parent}; valid endings: {', '.join(sorted(ends))}"
    )


def _status(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1


@functools.lru_cache(maxsize=64)
def _files(folder: Path, changed: int) -> dict[str, Path]:
    del changed  # a folder that was written to is another
    return {same_name(path.name): path for path in folder.iterdir()} if folder.is_dir() else {}


@functools.lru_cache(maxsize=64)
def _stems(folder: Path, changed: int) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, path in sorted(_files(folder, changed).items()):
        found.setdefault(name.removesuffix(path.suffix), []).append(path)
    return found
