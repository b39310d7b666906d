"""Errors of decoders and libraries, as one line that names the file."""

import contextlib
import importlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fcnjax.errors import UserError

MAX_REASON = 200  # characters
DAMAGE = "it is damaged or cut off"
# Exceptions that decoders raise when a damaged file holds something unexpected.
_UNEXPECTED = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)


def decode_error(file: object, reason: str = DAMAGE, kind: str = "an image") -> UserError:
    """Return the error for a file that cannot be decoded.

    Args:
        file: The file.
        reason: Why it cannot be decoded.
        kind: The expected format, such as `NIfTI`.
    """
    return UserError(f"{file}: cannot be read as {kind}: {reason}")


@contextlib.contextmanager
def decode_errors(file: object, kind: str = "an image") -> Iterator[None]:
    """Convert any error of a decoder within the block to a UserError that names the file.

    Put only calls of the decoder into the block: it would hide a bug of our own.

    Args:
        file: The file that is read.
        kind: The expected format, such as `NIfTI`.
    """
    try:
        # Scaled values may overflow float32 and become infinite; readers handle that.
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file") from error
    # Decoders raise many types: KeyError, struct.error, RecursionError, MemoryError, ...
    except Exception as error:
        raise decode_error(file, _reason(error), kind) from error


def _reason(error: Exception) -> str:
    """Return the first line of a message, with the second if the first ends with a colon."""
    if type(error).__module__.startswith("rasterio") and error.__cause__:
        error = error.__cause__  # holds GDAL's message; the error of rasterio only refers to it
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is damaged, or of an unknown format"  # Pillow's message names a memory buffer
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, _UNEXPECTED):
        return "it is damaged"
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return " ".join(map(str.strip, lines[: 1 + lines[0].endswith(":")]))[:MAX_REASON]


def require_package(file: object, package: str, extra: str) -> None:
    """Check that an optional package is installed.

    Args:
        file: The file that needs it.
        package: Name of the package.
        extra: The extra of fcnjax that installs it.

    Raises:
        UserError: The package is not installed.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"{file}: reading it needs {package}: pip install 'fcnjax[{extra}]'"
        ) from error
