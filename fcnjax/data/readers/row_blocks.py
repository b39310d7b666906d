"""Pixelwise work in blocks of rows, so that its temporary arrays stay small beside the image."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_VALUES = 2**22  # of a block


def row_blocks(array: np.ndarray) -> Iterator[slice]:
    """The slices of rows that an array `[H, ...]` is worked on by, in order."""
    height = array.shape[0]
    rows = max(_VALUES * height // max(array.size, 1), 1)
    for top in range(0, max(height, 1), rows):
        yield slice(top, min(top + rows, height))


def map_rows(function: Callable[..., np.ndarray], array: np.ndarray, *others: Any) -> np.ndarray:
    """Applies a pixelwise function to blocks of rows.

    Args:
        function: Takes the rows of each array, and returns as many rows, of one type and shape.
        array: `[H, ...]`.
        others: Further arrays with `H` rows, or None.
    """
    result = None
    for rows in row_blocks(array):
        parts = (None if other is None else other[rows] for other in others)
        part = function(array[rows], *parts)
        if len(part) == len(array):
            return part
        if result is None:
            result = np.empty((len(array), *part.shape[1:]), part.dtype)
        result[rows] = part
    return result
