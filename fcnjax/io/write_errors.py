"""Errors of a file that cannot be written, raised by Python or by a native library."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from fcnjax.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


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
