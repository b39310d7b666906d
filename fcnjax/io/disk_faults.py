"""Errors of a disk that takes no more, in Python's words or in those of a native library."""

import errno
import os

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES)


def disk_fault(error: BaseException) -> str | None:
    """Returns why a file could not be written, as `No space left on device`; None if not known.

    Libraries in C++ and Rust raise exceptions of their own, whose text ends in the system's words.
    """
    if isinstance(error, OSError):
        return error.strerror
    text = str(error)
    return next((os.strerror(number) for number in _NUMBERS if os.strerror(number) in text), None)
