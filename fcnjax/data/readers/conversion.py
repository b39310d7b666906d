"""Conversion of stored values, of images to pixel types and of masks to integers.

It is done in blocks of rows, so that temporary arrays stay small beside the image.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fcnjax.errors import UserError

_BLOCK_VALUES = 2**22
MAX_EXACT = 2**24  # float32 represents every integer up to here
# The value of pixels without data in an int32 mask. It is ignored, and no file can declare it.
NO_DATA = int(np.iinfo(np.int32).min)
_MAX_INTEGER = int(np.iinfo(np.int32).max)
_TOLERANCE = 1e-3  # of integers that are stored as floats
_MAX_TOLERANCE = 0.05
_REASONS = ("and a mask has whole numbers", f"and those of a mask are below {_MAX_INTEGER + 1}")


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


def to_pixels(
    file: object, values: np.ndarray, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert values to a pixel type: uint8 and uint16 stay, all others become float32.

    Args:
        file: The file, for the error.
        values: Values of any type.
        valid: Bool of the same shape, true where there is data; None: everywhere.

    Returns:
        The pixels, 0 where there is no data, and their validity (None: valid everywhere). NaN,
        infinity and values beyond float32 are invalid. float64 is rounded to float32.

    Raises:
        UserError: The values are not numbers, or one above 2**24 is not exact in float32.
    """
    if values.dtype.kind not in "uif":
        raise UserError(f"{file}: has {values.dtype} pixels; valid: whole or real numbers")
    if values.dtype not in (np.uint8, np.uint16):
        with np.errstate(over="ignore"):
            pixels = values.astype(np.float32)
        finite = np.isfinite(pixels)
        valid = finite if valid is None else valid & finite
        if values.dtype.itemsize > 2 and values.dtype != np.float32:
            _refuse_inexact(file, values, pixels, valid)
        values = pixels
    if valid is None or valid.all():
        return values, None
    return np.where(valid, values, values.dtype.type(0)), valid


def _refuse_inexact(
    file: object, values: np.ndarray, pixels: np.ndarray, valid: np.ndarray
) -> None:
    large = valid & (np.abs(pixels) >= MAX_EXACT)
    if not large.any():
        return
    # Compare in the file's type: NumPy compares int64 with float32 as float64. The largest
    # integers round up to a value that their type cannot represent.
    limit = np.inf if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    with np.errstate(invalid="ignore"):
        exact = pixels[large].astype(values.dtype) == values[large]
    exact &= pixels[large] < limit
    if not exact.all():
        first = values[large][~exact][0]
        raise UserError(
            f"{file}: has {values.dtype} pixels of which some, such as {first}, are not exact in "
            "float32; scale or shift them, or save them as uint16 or float32"
        )


def is_class_value(nodata: float | None) -> bool:
    """Return whether a nodata value can be a class or one of `data.labels.ignore_values`."""
    return nodata is not None and 0 <= nodata < 2**16 and float(nodata).is_integer()


def to_integers(
    values: np.ndarray, name: object, nodata: float | None = None, step: float = 0.0
) -> np.ndarray:
    """Convert the stored values of a mask to integers.

    Args:
        values: Array of any shape and real type.
        name: The file, for the error.
        nodata: The file's nodata value, or None. A value that passes `is_class_value` is kept,
            since it may be a class; pixels of any other become `NO_DATA`, as NaN and infinity do.
        step: The scale factor of the file: values may differ from integers by half of it.

    Returns:
        uint8 for bool and uint8 values, else int32.

    Raises:
        UserError: A value is not an integer, or does not fit into 32 bits.
    """
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "uif":
        raise UserError(f"{name}: has {values.dtype} values, and a mask has whole numbers")
    absent = None if nodata is None or is_class_value(nodata) else _as_type(nodata, values.dtype)
    tolerance = min(max(_TOLERANCE, 0.51 * step), _MAX_TOLERANCE)
    integers, counts, firsts = np.empty(values.shape, np.int32), [0, 0], [None, None]
    for rows in row_blocks(values):
        integers[rows], *faults = _convert(values[rows], absent, tolerance)
        for fault, wrong in enumerate(faults):
            if wrong.any():
                counts[fault] += int(wrong.sum())
                firsts[fault] = values[rows][wrong][0] if firsts[fault] is None else firsts[fault]
    for count, first, reason in zip(counts, firsts, _REASONS, strict=True):
        if count:
            text = f"{first.item():.7g}" if values.dtype.kind == "f" else str(first)
            raise UserError(f"{name}: has the value {text}, in {count} pixels, {reason}")
    return integers


def _convert(
    values: np.ndarray, absent: float | np.generic | None, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values as int32, a mask of those not integer, and a mask of those too large."""
    is_float = values.dtype.kind == "f"
    void = np.zeros(values.shape, bool) if absent is None else values == absent
    if is_float:
        void |= ~np.isfinite(values)
    kept = np.where(void, values.dtype.type(0), values)
    if is_float:
        kept = kept.astype(np.float64)  # float32 cannot represent 2**31 - 1
    integers = np.rint(kept) if is_float else kept
    large = integers > _MAX_INTEGER
    if values.dtype.kind != "u":
        large |= integers <= NO_DATA
    result = np.where(large, integers.dtype.type(0), integers).astype(np.int32)
    result[void] = NO_DATA
    return result, np.abs(kept - integers) > tolerance, large


def _as_type(nodata: float, dtype: np.dtype) -> float | np.generic:
    """Return a nodata value as a file of this type stores it: the nearest float32, for example."""
    with np.errstate(over="ignore"):
        return dtype.type(nodata) if dtype.kind == "f" else nodata
