"""Arrays stored in tiles, so that a crop reads little more than itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fcnjax.errors import UserError

SIDES = (256, 128, 64)  # of a tile, in pixels; the first whose tile is small enough
# Records up to this size lie in memory that the allocator keeps; larger ones are asked of the
# system anew each time, which takes longer than reading them.
TILE_BYTES = 2**16


def side_of(dtype: np.dtype, shape: Sequence[int]) -> int:
    """The side of the tiles that an array `[H, W, ...]` is stored in."""
    pixel = dtype.itemsize * int(np.prod(shape[2:]))
    return next((side for side in SIDES if side * side * pixel <= TILE_BYTES), SIDES[-1])


def cut(array: np.ndarray) -> Iterator[bytes]:
    """The tiles of an array `[H, W, ...]`, row by row of tiles; the last ones may be smaller."""
    side, (height, width) = side_of(array.dtype, array.shape), array.shape[:2]
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield array[y : y + side, x : x + side].tobytes()


def count(dtype: np.dtype, shape: Sequence[int]) -> int:
    """How many tiles such an array has."""
    side = side_of(dtype, shape)
    return -(-shape[0] // side) * -(-shape[1] // side)


class Tiled:
    """An array `[H, W, ...]` in tiles; `tiled[a:b, c:d]` reads what it needs, `np.asarray` all.

    Args:
        read: The tiles at the places given, counted from 0 in the order of `cut`.
        dtype: Of the array.
        shape: Of the array.
    """

    def __init__(
        self, read: Callable[[list[int]], Sequence[bytes]], dtype: np.dtype, shape: Sequence[int]
    ):
        self.dtype = dtype
        self.shape = tuple(shape)
        self._read = read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy  # it is one always
        return self[:, :].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        (top, bottom), (left, right) = (
            part.indices(length)[:2] for part, length in zip(key, self.shape[:2], strict=True)
        )
        found = np.empty((max(bottom - top, 0), max(right - left, 0), *self.shape[2:]), self.dtype)
        if not found.size:
            return found
        side, pixel = side_of(self.dtype, self.shape), found.itemsize * math.prod(self.shape[2:])
        columns = -(-self.shape[1] // side)
        places = [
            (y, x)
            for y in range(top // side, -(-bottom // side))
            for x in range(left // side, -(-right // side))
        ]
        records = self._read([y * columns + x for y, x in places])
        for (y, x), record in zip(places, records, strict=True):
            y, x = y * side, x * side
            height, width = min(side, self.shape[0] - y), min(side, self.shape[1] - x)
            if len(record) != height * width * pixel:
                raise UserError("the cache of decoded examples is damaged: remove its folder")
            tile = np.frombuffer(record, self.dtype).reshape(height, width, *self.shape[2:])
            rows = slice(max(top, y), min(bottom, y + height))
            cells = slice(max(left, x), min(right, x + width))
            found[rows.start - top : rows.stop - top, cells.start - left : cells.stop - left] = (
                tile[rows.start - y : rows.stop - y, cells.start - x : cells.stop - x]
            )
        return found
