"""Limits on the memory that a volume may take: a header can claim any size, and a small file any.

`FCNJAX_MAX_PIXELS` (`fcnjax/data/readers/limits.py`) raises them for volumes as for images.
"""

import math
import os
from collections.abc import Sequence

from fcnjax.data.readers.limits import BYTES_PER_PIXEL, VARIABLE, TooLarge, most_pixels
from fcnjax.errors import UserError

# Masks are written as NIfTI-1, which stores the lengths of axes in 15 bits.
LONGEST_AXIS = 2**15 - 1
# A mask of few labels is compressed to a hundredth or less, so a high ratio alone is no fault: a
# volume of this many bytes is read from a file of any size. 512 slices of 512x512 float32.
UNPROVEN_BYTES = 2**29
MOST_RATIO = 100  # bytes in memory to bytes of the file, of larger volumes
# A deflated DICOM file is held beside its volume, and twice while it is decompressed.
UNPROVEN_INFLATED_BYTES, MOST_INFLATED_RATIO = 2**27, 20


def refuse_large_volume(
    name: object, shape: Sequence[int], voxel_bytes: int, file_bytes: int
) -> None:
    """Raises UserError where a volume of this shape is not to be read.

    Args:
        name: The file, for the error.
        shape: Three axes, in voxels.
        voxel_bytes: The bytes that a voxel takes in memory.
        file_bytes: The size of the file or files.

    Raises:
        TooLarge: It takes more memory than the limit, or much more than its file has bytes.
        UserError: An axis has no voxel, or too many.
    """
    size = "x".join(map(str, shape))
    if not all(1 <= length <= LONGEST_AXIS for length in shape):
        raise UserError(f"{name}: has {size} voxels; valid: 1 to {LONGEST_AXIS} along an axis")
    held = math.prod(shape) * voxel_bytes
    needed = -(-held // BYTES_PER_PIXEL)
    if held > (most := most_pixels() * BYTES_PER_PIXEL):
        raise TooLarge(
            f"{name}: has {size} voxels, which take {held} bytes, and the limit is {most}; the "
            f"environment variable {VARIABLE}={needed} raises it"
        )
    if held > _believed(file_bytes, UNPROVEN_BYTES, MOST_RATIO):
        raise TooLarge(
            f"{name}: has {size} voxels, which take {held} bytes, in {file_bytes} bytes of file; "
            f"more than {MOST_RATIO} times as many are read where the environment variable "
            f"{VARIABLE}={needed} is set"
        )


def inflated_limit(file_bytes: int) -> int:
    """The bytes that a deflated DICOM file of this size may be decompressed to."""
    return _believed(file_bytes, UNPROVEN_INFLATED_BYTES, MOST_INFLATED_RATIO)


def _believed(file_bytes: int, unproven: int, ratio: int) -> int:
    most = most_pixels() * BYTES_PER_PIXEL
    if os.environ.get(VARIABLE):  # the user knows the data
        return most
    return min(most, max(unproven, ratio * file_bytes))
