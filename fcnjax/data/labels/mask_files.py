"""Reading of mask files: class ids, colours, or a channel for each class.

A mask is an image file, or a NumPy array in a `.npy` file: class ids `[H, W]`, `[H, W, 1]` or
`[1, H, W]`, a channel for each class `[H, W, K]` or `[K, H, W]`, or RGB colours. The size of its
image tells which axis of an array holds the channels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnjax.data.readers.channels import to_intensity
from fcnjax.data.readers.conversion import is_class_value, row_blocks, to_integers
from fcnjax.data.readers.decode import read_stored_pixels
from fcnjax.data.readers.image_file import Encoded, File, read_content
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.stored_pixels import Size, StoredPixels, upright
from fcnjax.errors import UserError
from fcnjax.io.numpy_files import parse_array, read_header

SHAPES = "valid: class ids [H, W], or a channel for each class [H, W, K] or [K, H, W]"
_MAX_COLOUR = 255


class Ids(NamedTuple):
    """Class ids that a mask stores.

    Attributes:
        values: `[H, W]` uint8 or int32; `NO_DATA` where the file has no data.
        nodata: The file's nodata value, if it is kept in `values` since it may be a class.
    """

    values: np.ndarray
    nodata: int | None = None


def is_array(file: File) -> bool:
    """Return whether a mask file is a NumPy array."""
    return not isinstance(file, Encoded) and Path(file).suffix.lower() == ".npy"


def guess_encoding(file: File, size: Size | None = None) -> str:
    """Return the encoding that a mask seems to have: `ids`, `rgb` or `onehot`.

    Args:
        file: The mask.
        size: Height and width of its image; required for an array of three axes.

    Raises:
        UserError: The file is missing or damaged, or an array of an invalid shape.
    """
    if not is_array(file):
        return "rgb" if is_colour(file) else "ids"
    array = _load_array(file, size)
    if array.ndim == 2:
        return "ids"
    is_rgb = array.dtype == np.uint8 and array.shape[-1] == 3
    return "rgb" if is_rgb and _has_several_levels(array) else "onehot"


def read_mask(file: File, size: Size | None = None) -> np.ndarray:
    """Read the class ids that a mask stores; see `read_ids`."""
    return read_ids(file, size).values


def read_ids(file: File, size: Size | None = None) -> Ids:
    """Read the values that a mask stores: palette indices, grey levels or bits.

    Colours of equal channels are grey levels; alpha is dropped.

    Args:
        file: The mask.
        size: Height and width of its image; required for an array of three axes.

    Returns:
        The values, upright by the mask's own EXIF orientation.

    Raises:
        UserError: The file is missing or damaged, its classes are colours or channels, or a value
            is not an integer.
    """
    if is_array(file):
        array = _load_array(file, size)
        if array.ndim == 3:
            raise UserError(
                f"{file}: has {array.shape[-1]} channels, and class ids have one; a channel for "
                "each class is --config.data.labels.encoding=onehot"
            )
        return Ids(to_integers(array, file))
    stored = read_stored_pixels(file)
    pixels = _drop_alpha(stored.ids, stored)
    if not _is_grey(pixels):
        raise UserError(
            f"{file}: is a colour picture, not a mask of class ids; valid: class ids as grey "
            "levels, a palette PNG, two values such as 0 and 255, or a colour for each class "
            "(--config.data.labels.encoding=rgb)"
        )
    _refuse_large_result(file, pixels, 1)
    values = to_integers(pixels[..., 0], file, stored.nodata)
    nodata = int(stored.nodata) if is_class_value(stored.nodata) else None
    return Ids(np.ascontiguousarray(upright(values, stored.orientation)), nodata)


def array_size(file: File, size: Size) -> Size:
    """Return the height and width of a mask in a `.npy` file, from its header.

    Args:
        file: The mask.
        size: Height and width of its image.

    Raises:
        UserError: The file is missing or damaged, or its shape does not fit the image.
    """
    shape = read_header(str(file)).shape
    if len(shape) == 3:
        axis = _channel_axis(shape, file, size)
        shape = shape[:axis] + shape[axis + 1 :]
    return tuple(shape[:2])


def read_palette(file: File) -> list[tuple[int, int, int]] | None:
    """Return the RGB colours of a mask by index; None if it has no palette."""
    return None if is_array(file) else read_stored_pixels(file).palette


def is_colour(file: File, stored: StoredPixels | None = None) -> bool:
    """Return whether an image file holds colours: channels that differ, and no palette.

    Args:
        file: The file.
        stored: Its pixels, if they are known.
    """
    stored = stored or read_stored_pixels(file)
    return not _is_grey(_drop_alpha(stored.pixels, stored))


def read_colours(file: File, size: Size | None = None) -> np.ndarray:
    """Read a mask whose classes are colours.

    Args:
        file: The mask: RGB, grey or with a palette.
        size: Height and width of its image; required for an array.

    Returns:
        `[H, W, 3]` uint8 RGB, upright by the mask's own EXIF orientation.

    Raises:
        UserError: The file is missing or damaged, or holds no colours of 8 bits.
    """
    if is_array(file):
        array = _load_array(file, size)
        if array.ndim != 3 or array.shape[-1] != 3:
            raise UserError(f"{file}: has the shape {array.shape}; colours are [H, W, 3]")
        return _eight_bits(array, file)
    stored = read_stored_pixels(file)
    pixels = _drop_alpha(stored.ids, stored)
    _refuse_large_result(file, pixels, 3)
    if stored.palette is not None:
        table = np.zeros((max(len(stored.palette), int(pixels.max()) + 1), 3), np.uint8)
        table[: len(stored.palette)] = stored.palette
        pixels = table[pixels[..., 0]]
    elif stored.max_value and stored.max_value < _MAX_COLOUR:
        pixels = to_intensity(file, pixels, stored.max_value, white_is_zero=False)
    pixels = _eight_bits(pixels, file)
    if pixels.shape[-1] not in (1, 3):
        raise UserError(f"{file}: has {pixels.shape[-1]} bands, and colours have three")
    colours = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return np.ascontiguousarray(upright(colours, stored.orientation))


def read_onehot(file: File, size: Size | None = None) -> np.ndarray:
    """Read a mask with a channel for each class.

    Args:
        file: An array `[H, W, K]` or `[K, H, W]` of bool, or of 0 and one other value.
        size: Height and width of its image.

    Returns:
        `[H, W, K]` bool.

    Raises:
        UserError: The file is missing or not such an array.
    """
    if not is_array(file):
        raise UserError(f"{file}: is an image; a channel for each class is read from .npy files")
    array = _load_array(file, size)
    if array.ndim != 3:
        raise UserError(f"{file}: has the shape {array.shape}; one-hot masks are [H, W, K]")
    if array.dtype == bool:
        return array
    if _has_several_levels(array) or not float(array.max()).is_integer():
        raise UserError(
            f"{file}: has channels of other values than 0 and 1; one-hot masks are of bool, or of "
            "0 and one other value"
        )
    return array != 0


def _has_several_levels(array: np.ndarray) -> bool:
    """Return whether an array has values besides 0 and its maximum; true if it has NaN."""
    return bool(((array != 0) & (array != array.max())).any())


def _drop_alpha(pixels: np.ndarray, stored: StoredPixels) -> np.ndarray:
    """Return the bands of the mask, without alpha and extra bands of one constant value."""
    count = pixels.shape[-1]
    bands = [i for i in range(count) if not _is_extra(pixels, stored.colorinterp[i], i)]
    return pixels if len(bands) in (0, count) else pixels[..., bands]


def _is_extra(pixels: np.ndarray, role: str, band: int) -> bool:
    if role == "undefined" and band in (1, 3):
        return bool((pixels[..., band] == pixels[0, 0, band]).all())
    return role == "alpha"


def _is_grey(pixels: np.ndarray) -> bool:
    return not any(
        (pixels[rows][..., band] != pixels[rows][..., 0]).any()
        for rows in row_blocks(pixels)
        for band in range(1, pixels.shape[-1])
    )


def _refuse_large_result(file: File, pixels: np.ndarray, bands: int) -> None:
    """Raise `TooLarge` if integers of this many bands take too much memory."""
    value_bytes = 1 if pixels.dtype == np.uint8 else 4
    size = max(bands, pixels.shape[-1]) * value_bytes if bands > 1 else value_bytes
    refuse_large(file, *pixels.shape[:2], size, file_bytes=file_size(file))


def _eight_bits(pixels: np.ndarray, file: File) -> np.ndarray:
    """Return colours as uint8; 16-bit ones may repeat 8 bits twice, or use only 8 of them."""
    if pixels.dtype == np.uint8:
        return pixels
    values = to_integers(pixels, file)
    if pixels.dtype == np.uint16 and values.max() > _MAX_COLOUR and not (values % 257).any():
        values = values // 257
    if values.min() < 0 or values.max() > _MAX_COLOUR:
        raise UserError(f"{file}: has colours of more than 8 bits; valid: 0 to {_MAX_COLOUR}")
    return values.astype(np.uint8)


def _load_array(file: File, size: Size | None) -> np.ndarray:
    """Return the array of a `.npy` file as `[H, W]` or `[H, W, K]` with K over 1."""
    array = parse_array(bytearray(read_content(file)), file)
    while array.ndim > 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim not in (2, 3) or not array.size:
        raise UserError(f"{file}: has the shape {array.shape}; {SHAPES}")
    if array.ndim == 3:
        array = np.moveaxis(array, _channel_axis(array.shape, file, size), -1)
    refuse_large(file, *array.shape[:2])
    return array[..., 0] if array.shape[2:] == (1,) else array


def _channel_axis(shape: tuple[int, int, int], file: File, size: Size | None) -> int:
    """Return the axis of channels, 2 or 0; the other two are the image's height and width.

    Those may be swapped: a mask of an image with an EXIF orientation may be of stored pixels.
    """
    if size is None:
        raise UserError(f"{file}: has the shape {shape}, and no image that tells its size")
    for height_width in (tuple(size), tuple(size)[::-1]):
        axes = [axis for axis in (2, 0) if shape[:axis] + shape[axis + 1 :] == height_width]
        if len(axes) == 2:
            raise UserError(
                f"{file}: has the shape {shape}, in which the first or the last axis may hold the "
                "channels; write it as class ids [H, W]"
            )
        if axes:
            return axes[0]
    raise UserError(
        f"{file}: has the shape {shape}, and its image is {size[1]}x{size[0]} pixels (width x "
        f"height); {SHAPES}"
    )
