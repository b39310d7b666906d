"""Limits on the size of images: memory is taken by the size that a header claims.

A header may claim any size, and a few kilobytes of constant pixels decompress to gigabytes. Two
limits hold: one on pixels, and one on the bytes of decoded pixels. The second grows with the file:
photographs and aerial images are compressed 2 to 50 times, so large ones come in large files.
"""

import os
from pathlib import Path

from fcnjax.errors import UserError

VARIABLE = "FCNJAX_MAX_PIXELS"
MOST_PIXELS = 500_000_000
# Four bands of 16 bits, eight of 8 bits: an image of the most pixels may take 4 GB.
BYTES_PER_PIXEL = 8
# Decoded bytes that a small file may have: a mask of 20,000 x 20,000 of one class takes 400 MB.
# Reading takes about twice as much.
SMALL_FILE_BYTES = 450_000_000
# A larger file may have this many decoded bytes for each of its own.
BYTES_PER_FILE_BYTE = 64


class TooLarge(UserError):
    """An image that is not to be decoded."""


def most_pixels() -> int:
    """The most pixels that an image, or a window of a raster, may have.

    Raises:
        UserError: The environment variable is no whole number above 0.
    """
    text = os.environ.get(VARIABLE) or str(MOST_PIXELS)
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise UserError(f"{VARIABLE}: {text[:40]!r} is not a whole number above 0")
    return int(text)


def file_size(file: object) -> int:
    """The bytes of an image file, on disk or in memory; 0 where it is missing."""
    if (content := getattr(file, "content", None)) is not None:
        return len(content)
    try:
        return Path(str(file)).stat().st_size
    except (OSError, ValueError):
        return 0


def refuse_large(
    name: object,
    height: int,
    width: int,
    pixel_bytes: int = 1,
    most: int | None = None,
    file_bytes: int | None = None,
) -> None:
    """Raises `TooLarge` where an image of this size is not to be decoded.

    Args:
        name: The image, for the error.
        height: By its header, pixels.
        width: By its header, pixels.
        pixel_bytes: The bytes that the bands of a decoded pixel take.
        most: The limit in pixels; None: `most_pixels()`.
        file_bytes: The size of its file, by which the limit in bytes is lower, unless the
            environment variable is set; None: it is not known, as of a window of a raster.
    """
    limit = most_pixels() if most is None else most
    if (pixels := height * width) > limit:
        raise TooLarge(
            f"{name}: is {width}x{height}, {pixels} pixels, and the limit is {limit}; the "
            f"environment variable {VARIABLE}={pixels} raises it"
        )
    size, most_bytes, reason = pixels * pixel_bytes, limit * BYTES_PER_PIXEL, ""
    if file_bytes is not None and not os.environ.get(VARIABLE):
        by_file = max(SMALL_FILE_BYTES, BYTES_PER_FILE_BYTE * file_bytes)
        if by_file < most_bytes:
            most_bytes, reason = by_file, f" for a file of {file_bytes} bytes"
    if size > most_bytes:
        needed = max(-(-size // BYTES_PER_PIXEL), pixels)
        raise TooLarge(
            f"{name}: is {width}x{height} pixels of {pixel_bytes} bytes, {size} bytes, and the "
            f"limit is {most_bytes}{reason}; the environment variable {VARIABLE}={needed} "
            "raises it"
        )
