"""Stored values of a mask as whole numbers, whatever their type."""

import numpy as np

from fcnjax.data.readers.row_blocks import row_blocks
from fcnjax.errors import UserError

# The value of pixels without data, in an int32 mask. It is ignored, and no file can declare it.
NO_DATA = int(np.iinfo(np.int32).min)
_MOST = int(np.iinfo(np.int32).max)
_ROUNDING = 1e-3  # by which a whole number stored as float may be off
_MOST_ROUNDING = 0.05
_REASONS = ("and a mask has whole numbers", f"and those of a mask are below {_MOST + 1}")


def is_listable(nodata: float | None) -> bool:
    """Return whether a file's value for no data can stand in `config.data.labels.ignore_values`."""
    return nodata is not None and 0 <= nodata < 2**16 and float(nodata).is_integer()


def whole_numbers(
    values: np.ndarray, name: object, nodata: float | None = None, step: float = 0.0
) -> np.ndarray:
    """Stored values as whole numbers.

    Args:
        values: Of any shape and real type.
        name: The file, for the error.
        nodata: The file's value for no data, or None. A value that `is_listable` stays as it is,
            since it may be a class; pixels of another one become `NO_DATA`, as NaN and infinity do.
        step: The scale that the file was stored with, by half of which values may be off.

    Returns:
        uint8 of bool and uint8 values, else int32.

    Raises:
        UserError: A value is not whole, or does not fit into 32 bits.
    """
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "uif":
        raise UserError(f"{name}: has {values.dtype} values, and a mask has whole numbers")
    absent = None if nodata is None or is_listable(nodata) else _as_type(nodata, values.dtype)
    rounding = min(max(_ROUNDING, 0.51 * step), _MOST_ROUNDING)
    result = np.empty(values.shape, np.int32)
    for rows in row_blocks(values):
        result[rows], fractions, large = _convert(values[rows], absent, rounding)
        if fractions.any() or large.any():
            raise _not_whole(values, name, absent, rounding)
    return result


def _not_whole(
    values: np.ndarray, name: object, absent: float | np.generic | None, rounding: float
) -> UserError:
    """The error for values that are not whole or, where all are, too large; counts them."""
    counts, firsts = [0, 0], [None, None]
    for rows in row_blocks(values):
        for of, wrong in enumerate(_convert(values[rows], absent, rounding)[1:]):
            counts[of] += int(wrong.sum())
            if firsts[of] is None and wrong.any():
                firsts[of] = values[rows][wrong][0].item()
    of = 0 if counts[0] else 1
    first = firsts[of]
    text = f"{first:.7g}" if isinstance(first, float) else str(first)
    return UserError(f"{name}: has the value {text}, in {counts[of]} pixels, {_REASONS[of]}")


def _convert(
    values: np.ndarray, absent: float | np.generic | None, rounding: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values as int32, and which of them are not whole and which are too large."""
    void = np.zeros(values.shape, bool) if absent is None else values == absent
    if values.dtype.kind == "f":
        void |= ~np.isfinite(values)
    kept = np.where(void, values.dtype.type(0), values)
    if values.dtype.kind == "f":
        kept = kept.astype(np.float64)  # float32 has no 2 ** 31 - 1
    whole = np.rint(kept) if values.dtype.kind == "f" else kept
    large = (whole > _MOST) if values.dtype.kind == "u" else (whole > _MOST) | (whole <= NO_DATA)
    fits = np.where(large, whole.dtype.type(0), whole).astype(np.int32)
    fits[void] = NO_DATA
    return fits, np.abs(kept - whole) > rounding, large


def _as_type(nodata: float, dtype: np.dtype) -> float | np.generic:
    """The value as a file of this type stores it: of float32, the nearest float32."""
    with np.errstate(over="ignore"):
        return dtype.type(nodata) if dtype.kind == "f" else nodata
