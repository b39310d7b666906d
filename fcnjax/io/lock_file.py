"""Locks between processes: an flock on a file, which the kernel releases when its holder dies.

On a file system without locks (`NO_LOCKS`) the processes continue without one.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from fcnjax.errors import UserError
from fcnjax.io.regular_files import writing

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
POLL_S = 0.2


def try_lock(file: IO[Any] | int, *, shared: bool = False) -> bool | None:
    """Lock an open file if no other process holds its lock.

    Args:
        file: The file or its descriptor. The lock ends when the descriptor is closed.
        shared: Whether others may hold shared locks at the same time.

    Returns:
        Whether it is locked now; None if the file system has no locks.
    """
    return _flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def lock(file: IO[Any]) -> None:
    """Lock an open file; wait while another process or open file holds its lock."""
    _flock(file, fcntl.LOCK_EX)


def _flock(file: IO[Any] | int, operation: int) -> bool | None:
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def open_locked(path: Path, *, shared: bool = False) -> IO[bytes] | None:
    """Open a lock file, create it if necessary, and lock it.

    The holder may remove the file while it holds the lock.

    Returns:
        The open file; None if another process holds the lock.
    """
    while True:
        # Do not follow a symbolic link that another user may have put into a shared folder.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o644), "ab+", buffering=0)
        try:
            if try_lock(file, shared=shared) is False:
                file.close()
                return None
            with contextlib.suppress(FileNotFoundError):  # its last holder removed it
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except OSError:
            file.close()
            raise
        file.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, the file `.NAME.lock` beside it; wait while another holds it.

    Raises:
        UserError: The folder cannot be written; names `path`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        while (file := open_locked(path.parent / f".{path.name}.lock")) is None:
            time.sleep(POLL_S)
    with file:
        yield


@contextlib.contextmanager
def locked_folder(folder: Path, name: object) -> Iterator[None]:
    """Create a folder if necessary, and hold a lock on it; do not wait for another holder.

    Args:
        folder: The folder.
        name: Its name in errors.

    Raises:
        UserError: The folder cannot be created, or another process holds the lock.
    """
    with writing(name):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        if try_lock(descriptor) is False:
            raise UserError(f"{name}: is being written to by another run")
        yield
    finally:
        os.close(descriptor)
