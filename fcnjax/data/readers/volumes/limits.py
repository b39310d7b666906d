"""Limits on the memory of a volume, since a header or a compressed file can claim any size.

`FCNJAX_MAX_PIXELS` (`fcnjax/data/readers/limits.py`) raises them for volumes as for images.
"""

import math
import os
from collections.abc import Sequence

from fcnjax.data.readers.limits import BYTES_PER_PIXEL, VARIABLE, TooLarge, max_pixels
from fcnjax.errors import UserError

# Masks are written as NIfTI-1, which stores the lengths of axes in 15 bits.
MAX_AXIS_LENGTH = 2**15 - 1
# A mask of few labels is compressed 100 times or more, so a high ratio alone is not suspicious: a
# volume of this many bytes is read from a file of any size (512 slices of 512x512 float32).
SMALL_VOLUME_BYTES = 2**29
MAX_RATIO = 100  # bytes in memory to bytes of the file, of larger volumes
# A deflated DICOM file is kept beside its volume, and twice while it is decompressed.
SMALL_INFLATED_BYTES, MAX_INFLATED_RATIO = 2**27, 20


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
    if memory > _limit(file_bytes, SMALL_VOLUME_BYTES, MAX_RATIO):
        raise TooLarge(
            f"{name}: has {size} voxels, which take {memory} bytes, in a file of {file_bytes} "
            f"bytes; set the environment variable {VARIABLE}={needed} to read more than "
            f"{MAX_RATIO} times as many"
        )


def inflated_limit(file_bytes: int) -> int:
    """Return the largest size to which a deflated DICOM file of this size may decompress."""
    return _limit(file_bytes, SMALL_INFLATED_BYTES, MAX_INFLATED_RATIO)


def _limit(file_bytes: int, small: int, ratio: int) -> int:
    limit = max_pixels() * BYTES_PER_PIXEL
    if os.environ.get(VARIABLE):  # the user knows the data
        return limit
    return min(limit, max(small, ratio * file_bytes))
