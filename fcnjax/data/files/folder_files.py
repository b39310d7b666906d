"""Listing of the files below a folder, for training and prediction."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from fcnjax.errors import UserError

# Folders of copies and thumbnails that operating systems and network drives create.
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


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
