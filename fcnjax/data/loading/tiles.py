"""Arrays stored in tiles, so that a crop reads little more than its own pixels."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fcnjax.errors import UserError

SIDES = (256, 128, 64)  # of a tile in pixels; the first that fits into TILE_BYTES is used
# The allocator reuses the memory of records up to this size. Larger ones are requested from the
# system each time, which takes longer than reading them.
TILE_BYTES = 2**16


def tile_side(dtype: np.dtype, shape: Sequence[int]) -> int:
    """Return the side of the tiles in which an array `[H, W, ...]` is stored."""
    pixel = dtype.itemsize * int(np.prod(shape[2:]))
    return next((side for side in SIDES if side * side * pixel <= TILE_BYTES), SIDES[-1])


def split_tiles(array: np.ndarray) -> Iterator[bytes]:
    """Yield the tiles of an array `[H, W, ...]` in row-major order; the last may be smaller."""
    side, (height, width) = tile_side(array.dtype, array.shape), array.shape[:2]
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield array[y : y + side, x : x + side].tobytes()


def tile_count(dtype: np.dtype, shape: Sequence[int]) -> int:
    """Return the number of tiles of such an array."""
    side = tile_side(dtype, shape)
    return -(-shape[0] // side) * -(-shape[1] // side)


class TiledArray:
    """An array `[H, W, ...]` in tiles. `array[a:b, c:d]` reads only the tiles that it needs.

    Args:
        read: Returns the tiles with the given numbers, counted as `split_tiles` yields them.
        dtype: Type of the array.
        shape: Shape of the array.
    """

    def __init__(
        self, read: Callable[[list[int]], Sequence[bytes]], dtype: np.dtype, shape: Sequence[int]
    ):
        self.dtype = dtype
        self.shape = tuple(shape)
        self._read = read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy  # the result is always a copy
        return self[:, :].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        (top, bottom), (left, right) = (
            part.indices(length)[:2] for part, length in zip(key, self.shape[:2], strict=True)
        )
        window = np.empty((max(bottom - top, 0), max(right - left, 0), *self.shape[2:]), self.dtype)
        if not window.size:
            return window
        side, pixel = tile_side(self.dtype, self.shape), window.itemsize * math.prod(self.shape[2:])
        columns = -(-self.shape[1] // side)
        positions = [
            (y, x)
            for y in range(top // side, -(-bottom // side))
            for x in range(left // side, -(-right // side))
        ]
        records = self._read([y * columns + x for y, x in positions])
        for (y, x), record in zip(positions, records, strict=True):
            y, x = y * side, x * side
            height, width = min(side, self.shape[0] - y), min(side, self.shape[1] - x)
            if len(record) != height * width * pixel:
                raise UserError("the cache of decoded examples is damaged; remove its folder")
            tile = np.frombuffer(record, self.dtype).reshape(height, width, *self.shape[2:])
            y0, y1 = max(top, y), min(bottom, y + height)
            x0, x1 = max(left, x), min(right, x + width)
            window[y0 - top : y1 - top, x0 - left : x1 - left] = tile[
                y0 - y : y1 - y, x0 - x : x1 - x
            ]
        return window
