"""An image file, on disk or in a record of a larger file, and the errors of reading one."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image

from fcnjax.data.readers.limits import BYTES_PER_PIXEL, most_pixels
from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular, read_file

MOST_METADATA = 2**26  # bytes of a file beside its pixels

# The limit is our own, of fcnjax.data.readers.limits.
Image.MAX_IMAGE_PIXELS = None
# A broken file is reported by us, once. (A filter of our own around each read would not do:
# filters belong to the process, and files are read in threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


# What decoders raise where they did not expect what a damaged file holds.
_OF_DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)


@dataclass(frozen=True)
class Encoded:
    """An image file that a record of a larger file holds; is read as a path is.

    Attributes:
        content: Its bytes.
        name: What errors call it.
        parent: The set that it is from.
    """

    content: bytes
    name: str
    parent: str
    suffix = ""  # as a path's; what it is, its bytes say

    def __str__(self) -> str:
        return self.name


File = str | Path | Encoded


def content_of(file: File) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: It is missing or cannot be read.
    """
    if isinstance(file, Encoded):
        return file.content
    # No format is larger than its pixels and some metadata.
    return read_file(file, most_pixels() * BYTES_PER_PIXEL + MOST_METADATA)


def start_of(file: File, count: int) -> bytes:
    """The first bytes of an image file.

    Raises:
        UserError: It is missing, not a regular file, or cannot be read.
    """
    if isinstance(file, Encoded):
        return file.content[:count]
    with naming(file), open_regular(file) as opened:
        return opened.read(count)


@contextlib.contextmanager
def naming(file: File) -> Iterator[None]:
    """Turns any error of a decoder into a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file") from error
    except Exception as error:
        raise UserError(f"{file}: cannot be read as an image: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # Pillow's own words name a buffer in memory here.
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is damaged, or of an unknown format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, _OF_DAMAGE):
        return "it is damaged"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
