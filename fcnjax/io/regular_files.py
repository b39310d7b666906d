"""Reading of regular files, and one-line errors of the file system and the machine.

Reading a FIFO or a device could block or never end.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fcnjax.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


def read_file(path: str | Path, max_bytes: int | None = None) -> bytes:
    """Read a regular file.

    Args:
        path: The file; links are followed.
        max_bytes: The largest valid size; None for no limit.

    Raises:
        UserError: It is missing, not a regular file, larger than `max_bytes`, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise UserError(f"{path}: has {size} bytes; the limit is {max_bytes}")
        with _naming(path):
            return file.read()  # read(max_bytes) would allocate as much for a small file


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        UserError: It is missing, not a regular file, or cannot be opened.
    """
    with _naming(path):
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path}: is not a regular file")
    return file


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Turn an error of the file system into a one-line error that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {reason}") from error


def _open_without_waiting(path: str, flags: int) -> int:
    # Otherwise opening a FIFO waits for its writer. Regular files are not affected.
    return os.open(path, flags | os.O_NONBLOCK)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names the path."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_error_reason(error: BaseException) -> str | None:
    """Return why a file could not be written, such as `No space left on device`; None if unknown.

    Libraries in C++ and Rust raise other exceptions, whose text contains the system's message.
    """
    if isinstance(error, OSError):
        return error.strerror
    reasons = (os.strerror(number) for number in (*DISK_ERRORS, errno.EACCES))
    return next((reason for reason in reasons if reason in str(error)), None)


def machine_error(error: Exception) -> str | None:
    """Return a one-line message if the machine caused the error, otherwise None."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.filename or 'the output'}: cannot be written: {os.strerror(error.errno)}"
    text = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        detail = next(iter(text.splitlines()), "").removeprefix("RESOURCE_EXHAUSTED: ")[:200]
        return (
            f"memory ran out{detail and f' ({detail})'}; try smaller batches "
            "(config.train.batch_size, config.eval.batch_size, or config.train.accumulate)"
        )
    return None
