"""The types that pixels of images have: uint8 and uint16 as they are, all others as float32."""

import numpy as np

from fcnjax.errors import UserError

EXACT = 2**24  # up to here float32 holds every whole number


def as_pixels(
    file: object, values: np.ndarray, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Converts values to a type of pixels, and finds those that are data.

    Args:
        file: What the error names.
        values: Of any type.
        valid: Bool of the same shape, where there is data as far as known; None: everywhere.

    Returns:
        uint8, uint16 or float32, 0 where there is no data; and bool, where there is (None:
        everywhere): neither NaN nor infinite nor beyond float32. A float64 is rounded to the 24
        bits of float32.

    Raises:
        UserError: The type is no number, or a value beyond 2**24 would be another in float32.
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
    large = valid & (np.abs(pixels) >= EXACT)
    if not large.any():
        return
    # Back in the type of the file: NumPy compares int64 with float32 as float64. The greatest
    # whole numbers round up to what their type does not hold.
    most = np.inf if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    with np.errstate(invalid="ignore"):
        kept = pixels[large].astype(values.dtype) == values[large]
    kept &= pixels[large] < most
    if not kept.all():
        first = values[large][~kept][0]
        raise UserError(
            f"{file}: has {values.dtype} pixels of which some, as {first}, are not exact in "
            "float32; scale or shift them, or save them as uint16 or float32"
        )
