"""Errors of libraries that read files: any of them becomes one line that names the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fcnjax.errors import UserError

LONGEST_REASON = 200


@contextlib.contextmanager
def errors_of(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of a library within the block into a UserError that names the file.

    Only calls of the library belong into the block: a fault of our own would be hidden.

    Args:
        path: The file that is read.
        kind: The format that the file should have, such as `NIfTI`.
    """
    try:
        # A scale may take values beyond float32: they become infinite, which readers expect.
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except UserError:
        raise
    # nibabel, pydicom and decoders raise what the part of a file at hand raises: KeyError,
    # struct.error, RecursionError, MemoryError, ...
    except Exception as error:
        raise UserError(f"{path}: cannot be read as {kind}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of an error, and the second where the first announces it."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return " ".join(map(str.strip, lines[: 1 + lines[0].endswith(":")]))[:LONGEST_REASON]
