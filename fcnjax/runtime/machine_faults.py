"""Errors that come of the machine and not of our code: no memory, or no space on a disk."""

import errno
import os

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


def machine_fault(error: Exception) -> str | None:
    """Returns a line on an error that the machine is the cause of; None for any other."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"{error.filename or 'the output'}: cannot be written: {os.strerror(error.errno)}"
    text = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        detail = next(iter(text.splitlines()), "").removeprefix("RESOURCE_EXHAUSTED: ")[:200]
        return (
            f"memory ran out{detail and f' ({detail})'}; try smaller batches "
            "(config.train.batch_size, config.eval.batch_size, or config.train.accumulate)"
        )
    return None
