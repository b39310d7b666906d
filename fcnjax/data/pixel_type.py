"""The pixel type of a model, and exact conversion of other pixels to it.

The type sets the scale: uint8 is divided by 255, uint16 by 65535, and float32 is not scaled. A
model is wrong on the same values in a type other than the one it was trained on. The type
therefore belongs to the model (`config.data.pixel_type`), and pixels are converted by value.
"""

from collections.abc import Callable, Sequence

import numpy as np

from fcnjax.errors import UserError
from fcnjax.runtime.packages import to_stderr

# Valid values of `config.data.pixel_type`; each holds all values of those before it.
PIXEL_TYPES = ("uint8", "uint16", "float32")


def value_range(pixel_type: str) -> str:
    """Return a type and its range of values for messages: `uint8 (0 to 255)`."""
    if pixel_type == "float32":
        return pixel_type
    return f"{pixel_type} (0 to {np.iinfo(pixel_type).max})"


def as_pixel_type(
    pixels: np.ndarray, pixel_type: str | None, name: str, owner: str = "the model takes"
) -> np.ndarray:
    """Convert pixels to a type by value, if the conversion is exact.

    Args:
        pixels: Integers or floats, unscaled, as stored in a file.
        pixel_type: One of `PIXEL_TYPES`. None leaves the pixels unchanged.
        name: The file or example, for errors.
        owner: The words before the type in an error.

    Returns:
        The same values as `pixel_type`. Floats of more than 32 bits are rounded to float32.

    Raises:
        UserError: The type cannot represent a value, or a value is NaN or infinite.
    """
    if pixel_type is None or not pixels.size:
        return pixels
    is_float = pixels.dtype.kind == "f"
    if pixels.dtype == pixel_type and not is_float:
        return pixels
    low, high = pixels.min(), pixels.max()
    expected = f"{owner} {value_range(pixel_type)}"
    if is_float and not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{name}: has pixels that are NaN or infinite; {expected}")
    if pixels.dtype == pixel_type:
        return pixels
    if pixel_type == "float32":
        converted = pixels.astype(np.float32)
        if not is_float and (converted.astype(np.float64) != pixels).any():
            raise UserError(
                f"{name}: holds {pixels.dtype} pixels that float32 cannot represent; {expected}"
            )
        return converted
    if low < 0 or high > np.iinfo(pixel_type).max:
        remedy = "convert the file"
        if low < 0:
            remedy += ", or set the nodata value of the file if these pixels have no data"
        raise UserError(
            f"{name}: holds {_type_of(pixels)} pixels from {low:g} to {high:g}, and {expected}; "
            f"{remedy}"
        )
    converted = pixels.astype(pixel_type)
    if is_float and (converted != pixels).any():
        raise UserError(
            f"{name}: holds {pixels.dtype} pixels with fractions, from {low:g} to {high:g}, and "
            f"{expected}; convert the file"
        )
    return converted


def _type_of(pixels: np.ndarray) -> str:
    # Signed and 32-bit integers are read as float32 too.
    return "signed or float" if pixels.dtype.kind == "f" else str(pixels.dtype)


class Conversion:
    """Conversion of pixels to one type, with a note on the first image of each narrower type.

    No file states whether an 8-bit image holds unscaled values or was scaled down from 16 bits.
    Unscaled values are assumed, and a line says so.

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
        """Convert pixels, as `as_pixel_type`."""
        converted = as_pixel_type(pixels, self.pixel_type, name, self._owner)
        stored = str(pixels.dtype)
        if _is_wider(self.pixel_type, stored) and stored not in self._logged:
            self._logged.add(stored)
            self._log(
                f"note: {name}: holds {stored} pixels, taken by value as {self.pixel_type}; pixels "
                f"that were scaled to {stored} do not suit"
            )
        return converted


def _is_wider(pixel_type: str | None, other: str) -> bool:
    if pixel_type is None or other not in PIXEL_TYPES:
        return False
    return PIXEL_TYPES.index(pixel_type) > PIXEL_TYPES.index(other)


def narrowest(pixel_types: Sequence[str | None]) -> str | None:
    """Return the type whose values all the other types can represent; None if none is known."""
    known = [pixel_type for pixel_type in pixel_types if pixel_type is not None]
    return min(known, key=PIXEL_TYPES.index, default=None)
