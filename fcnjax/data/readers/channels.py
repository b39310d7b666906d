"""The channels of an image, made of the pixels that its file stores.

`RGB` and `L` are pictures: palettes and CMYK become RGB, samples of few bits are scaled to 8 or 16
bits, white-is-zero is inverted, grey is repeated and RGB made grey. Bands by name are as stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.numeric_types import as_pixels
from fcnjax.data.readers.raster.band_names import bands_if_any, find_bands, grey_of
from fcnjax.data.readers.row_blocks import map_rows
from fcnjax.data.readers.stored import RGB, StoredPixels
from fcnjax.errors import UserError

_RGB, _GREY = ("R", "G", "B"), ("L",)
CMYK = ("cyan", "magenta", "yellow", "black")


@dataclass(frozen=True)
class Bands:
    """Bands of a file that were chosen for the channels of an image.

    Attributes:
        values: `[H, W, C]` as stored.
        valid: Bool of that shape, where there is data; None: everywhere.
        marks: The meaning of each, as `StoredPixels` has it.
        palette: RGB by index, where the values are indices.
        full: The greatest value of a sample; None: that of the type.
        white_is_zero: Whether 0 is the greatest intensity.
    """

    values: np.ndarray
    valid: np.ndarray | None
    marks: tuple[str, ...]
    palette: Sequence[RGB] | None = None
    full: int | None = None
    white_is_zero: bool = False


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
    names, marks = channel_names(channels), stored.marks
    places = choose_bands(file, names, stored.descriptions or ("",) * len(marks), marks)
    pixels = stored.pixels
    in_order = places == list(range(len(marks)))
    if in_order and _is_as_stored(stored, names):
        return pixels
    value_bytes = pixels.itemsize if pixels.dtype in (np.uint8, np.uint16) else 4
    size = (*pixels.shape[:2], len(names) * value_bytes)
    refuse_large(file, *size, file_bytes=file_size(file))

    def convert(values: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
        values = values if in_order else values[..., places]
        bands = Bands(
            values,
            _valid(stored.nodata, inside, values),
            tuple(marks[place] for place in places),
            stored.palette,
            stored.full,
            stored.white_is_zero,
        )
        return combine(file, bands, names)[0]

    return map_rows(convert, pixels, stored.valid)


def _is_as_stored(stored: StoredPixels, names: Sequence[str]) -> bool:
    """Return whether channels of the stored bands, in order, are the stored pixels themselves."""
    return (
        len(names) == len(stored.marks)
        and stored.pixels.dtype in (np.uint8, np.uint16)
        and stored.marks[:4] != CMYK
        and stored.palette is None
        and stored.full is None
        and stored.nodata is None
        and stored.valid is None
        and not stored.white_is_zero
    )


def choose_bands(
    file: object, names: Sequence[str], descriptions: Sequence[str], marks: Sequence[str]
) -> list[int]:
    """The places, from 0, of the bands that the channels are made of.

    RGB may be made of one band, of grey or of a palette, or of the four of CMYK; and L of three.

    Raises:
        UserError: As `find_bands`.
    """
    names, marks = tuple(names), tuple(marks)
    if marks[:4] == CMYK and names not in (_RGB, _GREY):
        raise UserError(f"{file}: is CMYK, and has no bands by name; valid: RGB or L")
    if (places := bands_if_any(names, descriptions, marks)) is not None:
        return places
    if names in (_RGB, _GREY):
        if marks == ("palette",):
            return [0]
        if marks[:4] == CMYK:
            return [0, 1, 2, 3]
        if names == _RGB and (grey := grey_of(marks)) is not None:
            return [grey]
        places = bands_if_any(_RGB, ("",) * len(marks), marks) if names == _GREY else None
        if places is not None:
            return places
    return find_bands(file, names, descriptions, marks)


def combine(
    file: object, bands: Bands, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Makes the channels of the bands that `choose_bands` chose.

    Returns:
        `[H, W, C]` uint8, uint16 or float32, and `[H, W]` bool: where one of the bands has data
        (None: everywhere).

    Raises:
        UserError: Values cannot be converted, or float32 does not hold them.
    """
    names, values, valid = tuple(names), bands.values, bands.valid
    if names in (_RGB, _GREY):
        white_is_zero = bands.white_is_zero and len(bands.marks) == 1
        if bands.palette is not None:
            values = _without_palette(file, values, bands.palette)
        elif bands.marks == CMYK:
            values = _without_inks(file, values)
        else:
            values = to_intensity(file, values, bands.full, white_is_zero)
        if valid is not None and valid.shape != values.shape:
            valid = np.broadcast_to(valid.all(-1, keepdims=True), values.shape)
    pixels, valid = as_pixels(file, values, valid)
    if pixels.shape[-1] != len(names):
        if names == _RGB:
            pixels = np.repeat(pixels, 3, -1)
        else:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[..., None]
    return pixels, None if valid is None else valid.any(-1)


def _without_palette(file: object, values: np.ndarray, palette: Sequence[RGB]) -> np.ndarray:
    table = np.asarray(palette, np.uint8)
    if (most := int(values.max())) >= len(table):
        raise UserError(f"{file}: has the palette index {most}, and {len(table)} colours")
    if values.dtype != np.uint8:
        return table[values[..., 0]]
    # Many times as quick as NumPy's indexing.
    table = np.concatenate([table, np.zeros((256 - len(table), 3), np.uint8)])
    indices = np.ascontiguousarray(values[..., 0])
    return cv2.merge([cv2.LUT(indices, np.ascontiguousarray(table[:, i])) for i in range(3)])


def _without_inks(file: object, values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint8:
        raise UserError(f"{file}: is CMYK of {values.dtype}; valid: uint8, or RGB or grey")
    return np.asarray(Image.fromarray(np.ascontiguousarray(values), "CMYK").convert("RGB"))


def _valid(
    nodata: float | None, inside: np.ndarray | None, values: np.ndarray
) -> np.ndarray | None:
    """The values that are data, by the value for no data and the mask; None: all."""
    valid = None
    if nodata is not None and not np.isnan(nodata):
        valid = values != nodata
    if inside is not None:
        inside = np.broadcast_to(inside[..., None], values.shape)
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
        scaled = (np.arange(most + 1, dtype=np.uint64) * most * 2 + full) // (2 * full)
        values = scaled.astype(values.dtype)[values]
    return most - values if white_is_zero else values
