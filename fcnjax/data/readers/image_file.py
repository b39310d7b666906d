"""An image file, on disk or encoded in a record of a larger file."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image

from fcnjax.data.readers.errors import decode_errors
from fcnjax.data.readers.limits import BYTES_PER_PIXEL, max_pixels
from fcnjax.io.regular_files import open_regular, read_file

MAX_METADATA = 2**26  # bytes of a file besides its pixels

# `limits.py` sets the limit.
Image.MAX_IMAGE_PIXELS = None
# We report a broken file ourselves, once. A filter around each read would not work: filters belong
# to the process, and files are read in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class Encoded:
    """An image file in a record of a larger file; readers take it in place of a path.

    Attributes:
        content: The bytes of the file.
        name: Its name in errors.
        parent: The dataset that holds it.
    """

    content: bytes
    name: str
    parent: str
    suffix = ""  # paths have one; the content tells the format

    def __str__(self) -> str:
        return self.name


File = str | Path | Encoded


def read_content(file: File) -> bytes:
    """Return the bytes of an image file.

    Raises:
        UserError: The file is missing or cannot be read.
    """
    if isinstance(file, Encoded):
        return file.content
    # No format takes more bytes than its pixels and some metadata.
    return read_file(file, max_pixels() * BYTES_PER_PIXEL + MAX_METADATA)


def read_start(file: File, count: int) -> bytes:
    """Return the first `count` bytes of an image file.

    Raises:
        UserError: The file is missing, not a regular file, or cannot be read.
    """
    if isinstance(file, Encoded):
        return file.content[:count]
    with decode_errors(file), open_regular(file) as opened:
        return opened.read(count)
