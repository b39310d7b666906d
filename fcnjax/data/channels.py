"""The channels of an image, made of the pixels that its file stores.

`RGB` and `L` are pictures: palettes and CMYK become RGB, samples of few bits are scaled to 8 or 16
bits, white-is-zero is inverted, grey is repeated and RGB made grey. Bands by name are as stored.
"""

import cv2
import numpy as np
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.band_names import bands_if_any, find_bands, grey_of
from fcnjax.data.pixel_types import as_pixels
from fcnjax.data.readers.stored import COLOURS, StoredPixels
from fcnjax.errors import UserError

_RGB, _GREY = ("R", "G", "B"), ("L",)
_CMYK = ("cyan", "magenta", "yellow", "black")


def to_channels(file: object, stored: StoredPixels, channels: str) -> np.ndarray:
    """The channels of an image, not turned.

    Args:
        file: What errors name.
        stored: The pixels of its file.
        channels: `config.data.channels`.

    Returns:
        `[H, W, C]` uint8, uint16 or float32; 0 where the file has no data.

    Raises:
        UserError: The file has other bands, or values that float32 does not hold.
    """
    names = channel_names(channels)
    is_picture = names in (_RGB, _GREY)
    values, marks, descriptions = stored.pixels, stored.marks, stored.descriptions
    if is_picture and stored.palette is not None:
        values, marks, descriptions = _without_palette(file, stored), COLOURS, ()
    elif is_picture and marks[:4] == _CMYK:
        values, marks, descriptions = _without_inks(file, values), COLOURS, ()
    descriptions = descriptions or ("",) * len(marks)
    places = _places(file, names, descriptions, marks)
    values = values if places == list(range(len(marks))) else values[..., places]
    valid = _valid(stored, values, is_index=stored.palette is not None)
    if is_picture:
        grey = values.shape[-1] == 1
        values = to_intensity(file, values, stored.full, stored.white_is_zero and grey)
    pixels, _ = as_pixels(file, values, valid)
    if pixels.shape[-1] == len(names):
        return pixels
    if names == _RGB:
        return np.repeat(pixels, 3, -1)
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[..., None]


def _places(
    file: object, names: tuple[str, ...], descriptions: tuple[str, ...], marks: tuple[str, ...]
) -> list[int]:
    """The bands that make the channels: one for RGB where the file is grey, three for L."""
    if (places := bands_if_any(names, descriptions, marks)) is not None:
        return places
    if names == _RGB and (grey := grey_of(marks)) is not None:
        return [grey]
    if names == _GREY and (places := bands_if_any(_RGB, ("",) * len(marks), marks)) is not None:
        return places
    return find_bands(file, names, descriptions, marks)


def _without_palette(file: object, stored: StoredPixels) -> np.ndarray:
    table = np.asarray(stored.palette, np.uint8)
    if (most := int(stored.pixels.max())) >= len(table):
        raise UserError(f"{file}: has the palette index {most}, and {len(table)} colours")
    return table[stored.pixels[..., 0]]


def _without_inks(file: object, values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint8:
        raise UserError(f"{file}: is CMYK of {values.dtype}; valid: uint8, or RGB or grey")
    inks = np.ascontiguousarray(values[..., :4])
    return np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))


def _valid(stored: StoredPixels, values: np.ndarray, is_index: bool) -> np.ndarray | None:
    """Where there is data, of the shape of `values`; None: everywhere."""
    valid = None
    if stored.nodata is not None and not np.isnan(stored.nodata):
        of = stored.pixels if is_index else values
        valid = np.broadcast_to(of != stored.nodata, values.shape)
    if stored.valid is not None:
        inside = np.broadcast_to(stored.valid[..., None], values.shape)
        valid = inside if valid is None else valid & inside
    return valid


def to_intensity(
    file: object, values: np.ndarray, full: int | None, white_is_zero: bool
) -> np.ndarray:
    """Scales samples to the range of their type, and inverts those where 0 is white.

    Args:
        file: What the error names.
        values: As stored.
        full: The greatest value of a sample; None: that of the type.
        white_is_zero: Whether to invert.

    Raises:
        UserError: Values whose type has no greatest intensity are to be inverted.
    """
    if values.dtype not in (np.uint8, np.uint16):
        if white_is_zero:
            raise UserError(
                f"{file}: has {values.dtype} pixels of which 0 is white (PhotometricInterpretation "
                "MinIsWhite), which have no black; valid: uint8 or uint16, or MinIsBlack"
            )
        return values
    most = np.iinfo(values.dtype).max
    if full is not None:
        # Rounded to the nearest, without a float: 65535 * 65535 fits uint32.
        wide = values.astype(np.uint64)
        values = ((wide * most * 2 + full) // (2 * full)).astype(values.dtype)
    return most - values if white_is_zero else values
