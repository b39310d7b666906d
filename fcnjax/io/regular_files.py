"""Read files that must be regular: a FIFO or a device would block for ever or never end."""

import os
import stat
from pathlib import Path

from fcnjax.errors import UserError


def read_file(path: str | Path, max_bytes: int | None = None) -> bytes:
    """Reads a regular file.

    Args:
        path: The file; links are followed.
        max_bytes: The largest size that is read; None: any.

    Raises:
        UserError: It is missing, not a regular file, larger than `max_bytes`, or cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: is not a regular file")
            if max_bytes is not None and status.st_size > max_bytes:
                raise UserError(
                    f"{path}: has {status.st_size} bytes; the largest that is read is {max_bytes}"
                )
            return file.read(-1 if max_bytes is None else max_bytes)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a FIFO waits for its writer otherwise. Regular files are read as ever.
    return os.open(path, flags | os.O_NONBLOCK)
