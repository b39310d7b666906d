"""Conversion of stored bands to the channels of an image, by the names in `config.data.channels`.

The first rule that applies chooses the bands:

1. Each name is the description of a band in the file (case is ignored).
2. The names are `R,G,B` or `L`, and the file marks bands as red, green and blue, or its only band
   that is not alpha as grey.
3. Each name is the number of a band, from 1.
4. The file has as many bands as there are names, and no description matches: in order.

An alpha band is a band like the others.

`RGB` and `L` are pictures: palettes and CMYK become RGB, samples of few bits are scaled to 8 or 16
bits, white-is-zero is inverted, grey is repeated for RGB, and RGB becomes grey for L. Bands that
are chosen by name keep their stored values.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.readers.conversion import map_rows, to_pixels
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.stored_pixels import CMYK, RGB, StoredPixels
from fcnjax.errors import UserError

RGB_NAMES, GREY_NAMES = ("R", "G", "B"), ("L",)
_COLOURS = {"R": "red", "G": "green", "B": "blue"}
_NOT_IN_ORDER = ("palette", "cyan")  # values that are not the intensity of a band


def choose_bands(
    file: object, names: Sequence[str], descriptions: Sequence[str], colorinterp: Sequence[str]
) -> list[int]:
    """Return the indices of the bands from which the channels of an image are made.

    RGB can also be made of one grey or palette band or of the four of CMYK, and L of three bands.

    Args:
        file: The file, for the error.
        names: Names of the channels.
        descriptions: Description of each band of the file; "" or None for none.
        colorinterp: The meaning of each band, as in `StoredPixels`.

    Raises:
        UserError: A name matches no band; lists the bands.
    """
    names, colorinterp = tuple(names), tuple(colorinterp)
    is_cmyk = colorinterp[:4] == CMYK
    if is_cmyk and names not in (RGB_NAMES, GREY_NAMES):
        raise UserError(f"{file}: is CMYK, and has no bands by name; valid: RGB or L")
    if (indices := _match(names, descriptions, colorinterp)) is not None:
        return indices
    if names in (RGB_NAMES, GREY_NAMES):
        if colorinterp == ("palette",):
            return [0]
        if is_cmyk:
            return [0, 1, 2, 3]
        if names == RGB_NAMES and (grey := _grey_band(colorinterp)) is not None:
            return [grey]
        colours = _match(RGB_NAMES, ("",) * len(colorinterp), colorinterp)
        if names == GREY_NAMES and colours is not None:
            return colours
    raise _no_band(file, names, descriptions)


def _no_band(file: object, names: Sequence[str], descriptions: Sequence[str]) -> UserError:
    described = _index_by_text(descriptions)
    missing = next((name for name in names if name.lower() not in described), names[0])
    bands = ", ".join(
        f"{number} ({text})" if text else str(number)
        for number, text in enumerate(descriptions, start=1)
    )
    numbers = ",".join(map(str, range(1, min(len(descriptions), len(names)) + 1)))
    hint = f"; name them so: config.data.channels={numbers}"
    return UserError(
        f"{file}: has no band {missing!r}, by config.data.channels; its bands: {bands}"
        f"{hint if len(names) <= len(descriptions) else ''}"
    )


def _match(
    names: Sequence[str], descriptions: Sequence[str], colorinterp: Sequence[str]
) -> list[int] | None:
    """Return the indices of the named bands; None if a name matches no band."""
    described = _index_by_text(descriptions)
    matches = [described.get(name.lower()) for name in names]
    if None not in matches:
        return matches
    if any(index is not None for index in matches):
        return None
    if all(name in _COLOURS for name in names):
        colours = _index_by_text(colorinterp)
        matches = [colours.get(_COLOURS[name]) for name in names]
        if None not in matches:
            return matches
    if tuple(names) == GREY_NAMES and (grey := _grey_band(colorinterp)) is not None:
        return [grey]
    count = len(colorinterp)
    if all(name.isdecimal() for name in names):
        inside = all(1 <= int(name) <= count for name in names)
        return [int(name) - 1 for name in names] if inside else None
    in_order = len(names) == count and not any(role in _NOT_IN_ORDER for role in colorinterp)
    return list(range(count)) if in_order else None


def _grey_band(colorinterp: Sequence[str]) -> int | None:
    """Return the index of the grey band if all others are alpha, else None."""
    others = [role for role in colorinterp if role != "alpha"]
    return colorinterp.index("gray") if others == ["gray"] else None


def _index_by_text(texts: Iterable[str | None]) -> dict[str, int]:
    """Return the index of each text in lower case; of the first of equal ones."""
    return {text.lower(): index for index, text in reversed([*enumerate(texts)]) if text}


def to_channels(file: object, stored: StoredPixels, channels: str) -> np.ndarray:
    """Convert stored pixels to the channels of an image, not yet upright.

    Args:
        file: The file, for errors.
        stored: The pixels of the file.
        channels: `config.data.channels`.

    Returns:
        `[H, W, C]` uint8, uint16 or float32; 0 where the file has no data.

    Raises:
        UserError: The file lacks a band, or float32 cannot represent its values.
    """
    names, colorinterp = channel_names(channels), stored.colorinterp
    descriptions = stored.descriptions or ("",) * len(colorinterp)
    indices = choose_bands(file, names, descriptions, colorinterp)
    pixels = stored.pixels
    in_order = indices == list(range(len(colorinterp)))
    if in_order and _needs_no_conversion(stored, names):
        return pixels
    value_bytes = pixels.itemsize if pixels.dtype in (np.uint8, np.uint16) else 4
    size = (*pixels.shape[:2], len(names) * value_bytes)
    refuse_large(file, *size, file_bytes=file_size(file))

    def convert(values: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
        values = values if in_order else values[..., indices]
        roles = tuple(colorinterp[index] for index in indices)
        valid = _valid(stored.nodata, inside, values)
        bands = dataclasses.replace(stored, pixels=values, valid=valid, colorinterp=roles)
        return combine_bands(file, bands, names)[0]

    return map_rows(convert, pixels, stored.valid)


def _needs_no_conversion(stored: StoredPixels, names: Sequence[str]) -> bool:
    """Return whether the stored pixels, in order, are the channels themselves."""
    return (
        len(names) == len(stored.colorinterp)
        and stored.pixels.dtype in (np.uint8, np.uint16)
        and stored.colorinterp[:4] != CMYK
        and stored.palette is None
        and stored.max_value is None
        and stored.nodata is None
        and stored.valid is None
        and not stored.white_is_zero
    )


def combine_bands(
    file: object, bands: StoredPixels, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Make the channels of an image from the bands that `choose_bands` chose.

    Args:
        file: The file, for errors.
        bands: These bands; `valid` has the shape of the pixels.
        names: Names of the channels.

    Returns:
        `[H, W, C]` uint8, uint16 or float32, and `[H, W]` bool: true where at least one band has
        data (None: everywhere).

    Raises:
        UserError: Values cannot be converted, or float32 cannot represent them.
    """
    names, values, valid = tuple(names), bands.pixels, bands.valid
    if names in (RGB_NAMES, GREY_NAMES):
        white_is_zero = bands.white_is_zero and len(bands.colorinterp) == 1
        if bands.palette is not None:
            values = _palette_to_rgb(file, values, bands.palette)
        elif bands.colorinterp == CMYK:
            values = _cmyk_to_rgb(file, values)
        else:
            values = to_intensity(file, values, bands.max_value, white_is_zero)
        if valid is not None and valid.shape != values.shape:
            valid = np.broadcast_to(valid.all(-1, keepdims=True), values.shape)
    pixels, valid = to_pixels(file, values, valid)
    if pixels.shape[-1] != len(names):
        if names == RGB_NAMES:
            pixels = np.repeat(pixels, 3, -1)
        else:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[..., None]
    return pixels, None if valid is None else valid.any(-1)


def _palette_to_rgb(file: object, values: np.ndarray, palette: Sequence[RGB]) -> np.ndarray:
    table = np.asarray(palette, np.uint8)
    if (largest := int(values.max())) >= len(table):
        raise UserError(f"{file}: has the palette index {largest}, and {len(table)} colours")
    if values.dtype != np.uint8:
        return table[values[..., 0]]
    # OpenCV's look-up is many times faster than NumPy's indexing.
    table = np.concatenate([table, np.zeros((256 - len(table), 3), np.uint8)])
    indices = np.ascontiguousarray(values[..., 0])
    return cv2.merge([cv2.LUT(indices, np.ascontiguousarray(table[:, i])) for i in range(3)])


def _cmyk_to_rgb(file: object, values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint8:
        raise UserError(f"{file}: is CMYK of {values.dtype}; valid: uint8, or RGB or grey")
    return np.asarray(Image.fromarray(np.ascontiguousarray(values), "CMYK").convert("RGB"))


def _valid(
    nodata: float | None, inside: np.ndarray | None, values: np.ndarray
) -> np.ndarray | None:
    """Return where values are data, by the nodata value and the file's mask; None: everywhere."""
    valid = None
    if nodata is not None and not np.isnan(nodata):
        valid = values != nodata
    if inside is not None:
        inside = np.broadcast_to(inside[..., None], values.shape)
        valid = inside if valid is None else valid & inside
    return valid


def to_intensity(
    file: object, values: np.ndarray, max_value: int | None, white_is_zero: bool
) -> np.ndarray:
    """Scale samples to the range of their type, and invert them if 0 is white.

    Args:
        file: The file, for the error.
        values: Values as stored.
        max_value: The largest value of a sample; None: that of the type.
        white_is_zero: Whether to invert.

    Raises:
        UserError: Values of an unbounded type would have to be inverted.
    """
    if values.dtype not in (np.uint8, np.uint16):
        if white_is_zero:
            raise UserError(
                f"{file}: has {values.dtype} pixels of which 0 is white (PhotometricInterpretation "
                "MinIsWhite), which have no black; valid: uint8 or uint16, or MinIsBlack"
            )
        return values
    type_max = np.iinfo(values.dtype).max
    if max_value is not None:
        # Round to the nearest in integers: 65535 * 65535 fits uint32.
        scaled = np.arange(type_max + 1, dtype=np.uint64) * type_max * 2 + max_value
        values = (scaled // (2 * max_value)).astype(values.dtype)[values]
    return type_max - values if white_is_zero else values
