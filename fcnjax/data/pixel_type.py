"""The pixel type of a model: pixels of every other type are converted to it by value, or refused.

The type decides the scale: uint8 is divided by 255, uint16 by 65535, float32 by nothing. A model
that was trained on one type is wrong on the same values in another, so the type belongs to the
model (`config.data.pixel_type`), and equal values in any type become equal pixels.
"""

from collections.abc import Callable, Sequence

import numpy as np

from fcnjax.errors import UserError
from fcnjax.runtime.packages import to_stderr

# Valid values of `config.data.pixel_type`; each holds all values of those before it.
PIXEL_TYPES = ("uint8", "uint16", "float32")


def value_range(pixel_type: str) -> str:
    """The values that a type holds, for messages: `uint8 (0 to 255)`."""
    if pixel_type == "float32":
        return pixel_type
    return f"{pixel_type} (0 to {np.iinfo(pixel_type).max})"


def as_pixel_type(
    pixels: np.ndarray, pixel_type: str | None, name: str, owner: str = "the model takes"
) -> np.ndarray:
    """Converts pixels to a type by value: where that is exact, or not at all.

    Args:
        pixels: Integers, or floats as files hold them (in no scale of their own).
        pixel_type: One of `PIXEL_TYPES`; None leaves pixels of every type as they are.
        name: The file or example, for errors.
        owner: The words before the type in an error.

    Returns:
        The same values as `pixel_type`. Floats of more than 32 bits are rounded to float32.

    Raises:
        UserError: A value is not one of that type, or is NaN or infinite.
    """
    if pixel_type is None or not pixels.size:
        return pixels
    is_float = pixels.dtype.kind == "f"
    if pixels.dtype == pixel_type and not is_float:
        return pixels
    low, high = pixels.min(), pixels.max()
    wanted = f"{owner} {value_range(pixel_type)}"
    if is_float and not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{name}: has pixels that are NaN or infinite; {wanted}")
    if pixels.dtype == pixel_type:
        return pixels
    if pixel_type == "float32":
        converted = pixels.astype(np.float32)
        if not is_float and (converted.astype(np.float64) != pixels).any():
            raise UserError(f"{name}: holds {pixels.dtype} pixels that float32 cannot; {wanted}")
        return converted
    if low < 0 or high > np.iinfo(pixel_type).max:
        remedy = "convert the file"
        if low < 0:
            remedy += ", or mark what has no data by the nodata value of the file"
        raise UserError(
            f"{name}: holds {_type_of(pixels)} pixels from {low:g} to {high:g}, and {wanted}; "
            f"{remedy}"
        )
    converted = pixels.astype(pixel_type)
    if is_float and (converted != pixels).any():
        raise UserError(
            f"{name}: holds {pixels.dtype} pixels with fractions, from {low:g} to {high:g}, and "
            f"{wanted}; convert the file"
        )
    return converted


def _type_of(pixels: np.ndarray) -> str:
    # Signed integers and those of 32 bits are read as float32 too.
    return "signed or float" if pixels.dtype.kind == "f" else str(pixels.dtype)


class Conversion:
    """Converts pixels to one type, and says once for each type that it assumed equal values.

    That an 8-bit picture holds the values of a 16-bit one, and is not that picture scaled to 8
    bits, no file says: it is assumed, in a line.

    Args:
        pixel_type: As in `as_pixel_type`.
        owner: As in `as_pixel_type`.
        log: Takes the line. Picklable.
    """

    def __init__(
        self,
        pixel_type: str | None,
        owner: str = "the model takes",
        log: Callable[[str], None] = to_stderr,
    ):
        self.pixel_type = pixel_type
        self._owner = owner
        self._log = log
        self._logged: set[str] = set()

    def __call__(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Converts pixels; as `as_pixel_type`."""
        converted = as_pixel_type(pixels, self.pixel_type, name, self._owner)
        before = str(pixels.dtype)
        if is_wider(self.pixel_type, before) and before not in self._logged:
            self._logged.add(before)
            self._log(
                f"note: {name}: holds {before} pixels, taken by value as {self.pixel_type}; pixels "
                f"that were scaled to {before} do not suit"
            )
        return converted


def is_wider(pixel_type: str | None, other: str) -> bool:
    """Return whether a type holds more values than another of `PIXEL_TYPES`."""
    if pixel_type is None or other not in PIXEL_TYPES:
        return False
    return PIXEL_TYPES.index(pixel_type) > PIXEL_TYPES.index(other)


def narrowest(pixel_types: Sequence[str | None]) -> str | None:
    """The type whose values all of the others hold; None where none is known."""
    known = [pixel_type for pixel_type in pixel_types if pixel_type is not None]
    return min(known, key=PIXEL_TYPES.index, default=None)
