"""Stored values of a mask as whole numbers, whatever their type."""

import numpy as np

from fcnjax.errors import UserError

# The value of pixels without data, in an int32 mask. It is ignored, and no file can declare it.
NO_DATA = int(np.iinfo(np.int32).min)
_MOST = int(np.iinfo(np.int32).max)
_ROUNDING = 1e-3  # by which a whole number stored as float may be off
_MOST_ROUNDING = 0.05


def is_listable(nodata: float | None) -> bool:
    """Return whether a file's value for no data can stand in `config.data.ignore_values`."""
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
    if nodata is None or is_listable(nodata):
        void = np.zeros(values.shape, bool)
    else:
        void = values == _as_type(nodata, values.dtype)
    if values.dtype.kind == "f":
        void |= ~np.isfinite(values)
    kept = np.where(void, values.dtype.type(0), values)
    if values.dtype.kind == "f":
        kept = kept.astype(np.float64)  # float32 has no 2 ** 31 - 1
    whole = np.rint(kept) if values.dtype.kind == "f" else kept
    rounding = min(max(_ROUNDING, 0.51 * step), _MOST_ROUNDING)
    _refuse(kept, np.abs(kept - whole) > rounding, name, "and a mask has whole numbers")
    large = (whole > _MOST) if values.dtype.kind == "u" else (whole > _MOST) | (whole <= NO_DATA)
    _refuse(kept, large, name, f"and those of a mask are below {_MOST + 1}")
    return np.where(void, np.int32(NO_DATA), whole.astype(np.int32))


def _as_type(nodata: float, dtype: np.dtype) -> float | np.generic:
    """The value as a file of this type stores it: of float32, the nearest float32."""
    with np.errstate(over="ignore"):
        return dtype.type(nodata) if dtype.kind == "f" else nodata


def _refuse(values: np.ndarray, wrong: np.ndarray, name: object, why: str) -> None:
    if wrong.any():
        first = values[wrong][0].item()
        text = f"{first:.7g}" if isinstance(first, float) else str(first)
        raise UserError(f"{name}: has the value {text}, in {int(wrong.sum())} pixels, {why}")
