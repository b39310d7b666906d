"""Limits on the size of images and volumes: decoding allocates the size that a header claims.

A header may claim any size, and a few kilobytes of constant pixels decompress to gigabytes. One
limit applies to the number of pixels, another to the bytes of the decoded pixels. The second grows
with the file: photographs and aerial images are compressed 2 to 50 times.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from fcnjax.errors import UserError

VARIABLE = "FCNJAX_MAX_PIXELS"
MAX_PIXELS = 500_000_000
# Four bands of 16 bits or eight of 8 bits: an image of the most pixels may take 4 GB.
BYTES_PER_PIXEL = 8
# Decoded bytes of a small file: a mask of 20,000 x 20,000 pixels of one class takes 400 MB.
# Reading takes about twice as much.
SMALL_FILE_BYTES = 450_000_000
# Decoded bytes for each byte of a larger file.
BYTES_PER_FILE_BYTE = 64
# Masks are written as NIfTI-1, which stores the lengths of axes in 15 bits.
MAX_AXIS_LENGTH = 2**15 - 1
# A mask of few labels is compressed 100 times or more, so a high ratio alone is not suspicious: a
# volume of this many bytes is read from a file of any size (512 slices of 512x512 float32).
SMALL_VOLUME_BYTES = 2**29
MAX_RATIO = 100  # bytes in memory to bytes of the file, of larger volumes
# A deflated DICOM file is kept beside its volume, and twice while it is decompressed.
SMALL_INFLATED_BYTES, MAX_INFLATED_RATIO = 2**27, 20


class TooLarge(UserError):
    """An image is too large to be decoded."""


def max_pixels() -> int:
    """Return the largest number of pixels of an image, or of a window of a raster.

    Raises:
        UserError: The environment variable is not a whole number above 0.
    """
    text = os.environ.get(VARIABLE) or str(MAX_PIXELS)
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise UserError(f"{VARIABLE}: {text[:40]!r} is not a whole number above 0")
    return int(text)


def file_size(file: object) -> int:
    """Return the bytes of an image file, on disk or in memory; 0 if it is missing."""
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
    limit: int | None = None,
    file_bytes: int | None = None,
) -> None:
    """Raise `TooLarge` if an image of this size must not be decoded.

    Args:
        name: The image, for the error.
        height: Height by the header, in pixels.
        width: Width by the header, in pixels.
        pixel_bytes: Bytes of all bands of a decoded pixel.
        limit: Largest number of pixels; None: `max_pixels()`.
        file_bytes: Size of the file, which lowers the limit on bytes unless the environment
            variable is set; None: unknown, as for a window of a raster.
    """
    limit = max_pixels() if limit is None else limit
    if (pixels := height * width) > limit:
        raise TooLarge(
            f"{name}: is {width}x{height}, {pixels} pixels, and the limit is {limit}; the "
            f"environment variable {VARIABLE}={pixels} raises it"
        )
    size, max_bytes, reason = pixels * pixel_bytes, limit * BYTES_PER_PIXEL, ""
    if file_bytes is not None:
        by_file = _limit(max_bytes, file_bytes, SMALL_FILE_BYTES, BYTES_PER_FILE_BYTE)
        if by_file < max_bytes:
            max_bytes, reason = by_file, f" for a file of {file_bytes} bytes"
    if size > max_bytes:
        needed = max(-(-size // BYTES_PER_PIXEL), pixels)
        raise TooLarge(
            f"{name}: is {width}x{height} pixels of {pixel_bytes} bytes, {size} bytes, and the "
            f"limit is {max_bytes}{reason}; the environment variable {VARIABLE}={needed} "
            "raises it"
        )


def refuse_large_volume(
    name: object, shape: Sequence[int], voxel_bytes: int, file_bytes: int
) -> None:
    """Raise UserError if a volume of this shape must not be read.

    Args:
        name: The file, for the error.
        shape: Three axes, in voxels.
        voxel_bytes: Bytes of a voxel in memory.
        file_bytes: Size of the file or files.

    Raises:
        TooLarge: The volume takes more memory than the limit, or much more than its file.
        UserError: An axis has no voxel, or too many.
    """
    size = "x".join(map(str, shape))
    if not all(1 <= length <= MAX_AXIS_LENGTH for length in shape):
        raise UserError(f"{name}: has {size} voxels; valid: 1 to {MAX_AXIS_LENGTH} along an axis")
    memory = math.prod(shape) * voxel_bytes
    needed = -(-memory // BYTES_PER_PIXEL)
    if memory > (limit := max_pixels() * BYTES_PER_PIXEL):
        raise TooLarge(
            f"{name}: has {size} voxels, which take {memory} bytes, and the limit is {limit}; the "
            f"environment variable {VARIABLE}={needed} raises it"
        )
    if memory > _limit(limit, file_bytes, SMALL_VOLUME_BYTES, MAX_RATIO):
        raise TooLarge(
            f"{name}: has {size} voxels, which take {memory} bytes, in a file of {file_bytes} "
            f"bytes; set the environment variable {VARIABLE}={needed} to read more than "
            f"{MAX_RATIO} times as many"
        )


def inflated_limit(file_bytes: int) -> int:
    """Return the largest size to which a deflated DICOM file of this size may decompress."""
    limit = max_pixels() * BYTES_PER_PIXEL
    return _limit(limit, file_bytes, SMALL_INFLATED_BYTES, MAX_INFLATED_RATIO)


def _limit(max_bytes: int, file_bytes: int, small: int, ratio: int) -> int:
    """Lower a limit on bytes for a small file, unless the user, who knows the data, raised it."""
    raised = os.environ.get(VARIABLE)
    return max_bytes if raised else min(max_bytes, max(small, ratio * file_bytes))
