"""Errors caused by the machine, not by the code: no memory left, or no space on a disk."""

import os

from fcnjax.io.write_errors import DISK_ERRORS


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
