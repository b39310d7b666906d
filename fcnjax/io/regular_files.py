"""Read files that must be regular: a FIFO or a device would block for ever or never end."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from fcnjax.errors import UserError


def read_file(path: str | Path, max_bytes: int | None = None) -> bytes:
    """Reads a regular file.

    Args:
        path: The file; links are followed.
        max_bytes: The largest size that is read; None: any.

    Raises:
        UserError: It is missing, not a regular file, larger than `max_bytes`, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise UserError(f"{path}: has {size} bytes; the largest that is read is {max_bytes}")
        try:
            return file.read()  # a number of bytes would be allocated, however small the file is
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a regular file for reading.

    Raises:
        UserError: It is missing, not a regular file, or cannot be opened.
    """
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 (is returned)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path}: is not a regular file")
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a FIFO waits for its writer otherwise. Regular files are read as ever.
    return os.open(path, flags | os.O_NONBLOCK)
