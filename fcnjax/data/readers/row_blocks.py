"""Pixelwise work in blocks of rows, so that temporary arrays stay small beside the image."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_BLOCK_VALUES = 2**22


def row_blocks(array: np.ndarray) -> Iterator[slice]:
    """Yield slices of rows that cover an array `[H, ...]` in order."""
    height = array.shape[0]
    rows = max(_BLOCK_VALUES * height // max(array.size, 1), 1)
    for top in range(0, max(height, 1), rows):
        yield slice(top, min(top + rows, height))


def map_rows(function: Callable[..., np.ndarray], array: np.ndarray, *others: Any) -> np.ndarray:
    """Apply a pixelwise function to blocks of rows.

    Args:
        function: Takes the rows of each array; returns as many rows, always of one type and shape.
        array: Array `[H, ...]`.
        others: Further arrays with `H` rows, or None.
    """
    result = None
    for rows in row_blocks(array):
        blocks = (None if other is None else other[rows] for other in others)
        block = function(array[rows], *blocks)
        if len(block) == len(array):
            return block
        if result is None:
            result = np.empty((len(array), *block.shape[1:]), block.dtype)
        result[rows] = block
    return result
