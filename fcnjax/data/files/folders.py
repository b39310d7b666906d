"""Files of a folder: their names in different Unicode forms, and lists of those below it.

macOS writes `é` as two characters (NFD), other systems as one (NFC). Names from older systems may
not be UTF-8 at all, and Python then represents their bytes as surrogates.
"""

import functools
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from fcnjax.errors import UserError

# Folders of copies and thumbnails that operating systems and network drives create.
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


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


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or belongs to the system.

    macOS writes `._NAME.png`, which is not an image, beside `NAME.png` on foreign disks.
    """
    return name.startswith(".") or name in SYSTEM_FOLDERS


def folders_below(
    folder: Path, excluded: Collection[Path] = ()
) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and those below it, each with the names of its files, without hidden ones.

    Links to folders are followed, and each folder is visited once.

    Args:
        folder: The folder.
        excluded: Folders below it to leave out.

    Raises:
        UserError: A folder cannot be read.
    """
    visited = {os.path.realpath(path) for path in excluded} - {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield Path(parent), [name for name in names if not is_hidden(name)]


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error


def files_below(folder: Path, ends: Sequence[str], excluded: Collection[Path] = ()) -> list[Path]:
    """List the files of a folder and of its subfolders, sorted by path.

    Args:
        folder: The folder.
        ends: Endings of the files' names, in lower case.
        excluded: Folders below it to leave out.
    """
    ends = tuple(ends)
    return sorted(
        Path(parent, name)
        for parent, names in folders_below(folder, excluded)
        for name in names
        if name.lower().endswith(ends)
    )
