"""Reads image and mask files as arrays.

EXIF orientation is honoured alike for images, masks and sizes, so that a turned photograph and its
mask stay on each other.
"""

import io
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.bands import read_bands
from fcnjax.data.channels import to_channels
from fcnjax.data.image_file import Encoded as Encoded
from fcnjax.data.image_file import File as File
from fcnjax.data.image_file import content_of as _content
from fcnjax.data.image_file import naming as _naming
from fcnjax.data.limits import refuse_large
from fcnjax.data.readers import png, pnm, tiff
from fcnjax.data.readers.pillow import opened, orientation_of, pages_of
from fcnjax.data.stored_pixels import read_image_header, read_stored_pixels, stack_pages
from fcnjax.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".bmp"}
)
_JPEG = b"\xff\xd8\xff"
# Of the formats that are read without rasterio.
_MAGIC = (*tiff.MAGIC, *pnm.MAGIC, png.MAGIC, _JPEG, b"BM")


def read_image(path: File, channels: str = "RGB", pages: str = "") -> np.ndarray:
    """Reads an image.

    Args:
        path: PNG, JPEG, TIFF, PNM or BMP, of any type of pixels that float32 holds exactly.
        channels: `RGB` or `L` (grey); what the file holds is converted. Or names of bands, with
            commas between, as `fcnjax/data/band_names.py` finds them.
        pages: `config.data.pages`: "" refuses a file of several pages, `first` reads the first, and
            `channels` reads pages of one band each as the bands of one image.

    Returns:
        `[H, W, C]` uint8, uint16 or float32.

    Raises:
        UserError: The file is missing, damaged or no such image; names it.
    """
    is_picture = channels in ("RGB", "L")
    if not (is_picture or isinstance(path, Encoded) or _is_image(path)):
        return read_bands(path, channel_names(channels))
    content = _content(path)
    pixels = _read_usual(path, content, channels) if is_picture else None
    if pixels is None:
        if pages == "channels":
            stored = stack_pages(path, content)
        else:
            stored = read_stored_pixels(path, 0 if pages == "first" else None, content)
        pixels = _turned(to_channels(path, stored, channels), stored.orientation)
    return np.ascontiguousarray(pixels)


def _is_image(path: str | Path) -> bool:
    """Whether a file is of a format that is read without rasterio, by its first bytes."""
    with _naming(path), open(path, "rb") as file:  # noqa: PTH123 (a text is a file's name too)
        return file.read(8).startswith(_MAGIC)


def _read_usual(path: File, content: bytes, channels: str) -> np.ndarray | None:
    """Reads a usual PNG or JPEG in the channels that it has; None: it is another file."""
    if content.startswith(png.MAGIC):
        content = png.without_rest(content)
    if not content.startswith((png.MAGIC, _JPEG)):
        return None
    with _naming(path), opened(path, io.BytesIO(content)) as image:
        is_usual = image.mode == channels and pages_of(image) == 1
        pixels = _decode_usual(content, image.format) if is_usual else None
        if pixels is None:
            return None
        orientation = orientation_of(image, content)
    return _turned(pixels[..., None] if pixels.ndim == 2 else pixels, orientation)


def read_mask(path: File) -> np.ndarray:
    """Reads the values a mask stores: palette indices, grey levels or bits.

    Returns:
        `[H, W]` uint8, or int32 where the file has more than 8 bits.

    Raises:
        UserError: The file is missing or damaged, or its classes are coded as RGB colours.
    """
    content = _content(path)
    kind, mode, orientation = _header(path, content)
    values = _decode_usual(content, kind) if mode == "L" else None
    if values is None and kind == "TIFF" and mode.startswith("I;16"):
        # Pillow 13 turns the size but not the pixels of these.
        values = _decode_with_opencv(path, content, "L")
    elif values is None:
        with _naming(path), _opened(path, content) as image:
            values = np.asarray(image)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 3:
        colour = values[..., : max(values.shape[-1] - 1, 1) if values.shape[-1] in (2, 4) else 3]
        if (colour != colour[..., :1]).any():
            raise UserError(
                f"{path}: is a colour picture, not a mask; valid: class ids as grey levels, "
                "a palette PNG, or two values such as 0 and 255"
            )
        values = colour[..., 0]
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{path}: has {values.dtype} pixels, and a mask has whole numbers")
    values = values if values.dtype == np.uint8 else values.astype(np.int32)
    return np.ascontiguousarray(_turned(values, orientation))


def read_palette(path: File) -> list[tuple[int, int, int]] | None:
    """The RGB colours by index that a palette PNG carries; None for another file."""
    with _naming(path), _opened(path) as image:
        flat = image.getpalette("RGB") if image.mode == "P" else None
    return None if flat is None else [tuple(flat[i : i + 3]) for i in range(0, len(flat), 3)]


def is_colour(path: File) -> bool:
    """Whether a mask file holds colours: channels that differ somewhere, and no palette."""
    with _naming(path), _opened(path) as image:
        if image.mode not in ("RGB", "RGBA"):
            return False
        pixels = np.asarray(image)[..., :3]
    return bool((pixels != pixels[..., :1]).any())


def image_size(path: File) -> tuple[int, int]:
    """Height and width, from the file's header; of the first page, where there are several.

    Raises:
        UserError: The file is missing, is no image, or is larger than may be decoded.
    """
    return read_image_header(path).size


def _opened(path: File, content: bytes | None = None) -> Image.Image:
    """Opens an image file, of which the content may be known; reads its header alone."""
    if content is None and isinstance(path, Encoded):
        content = path.content
    image = Image.open(path if content is None else io.BytesIO(content))
    try:
        refuse_large(path, image.height, image.width)
    except UserError:
        image.close()
        raise
    return image


def _header(path: File, content: bytes) -> tuple[str, str, int]:
    """The file's format, Pillow's mode for it, and its EXIF orientation."""
    with _naming(path), _opened(path, content) as image:
        return image.format, image.mode, _orientation(image, content)


def _orientation(image: Image.Image, content: bytes = b"") -> int:
    # Both decoders turn a TIFF by themselves, and Pillow gives its size as turned.
    return 1 if image.format == "TIFF" else orientation_of(image, content)


def _decode_usual(content: bytes, kind: str) -> np.ndarray | None:
    """Decodes a usual PNG quicker than OpenCV does, and a usual JPEG quicker than Pillow.

    Returns:
        `[H, W]` or `[H, W, 3]` uint8, as Pillow has it; None where the file is of another kind or
        seems damaged, for the others to tell of.
    """
    if kind == "PNG" and b"IEND" in content[-16:]:
        # The header's bits a channel, kind of colour (grey or RGB) and interlacing.
        usual = content[24:26] in (b"\x08\x00", b"\x08\x02") and not content[28]
        decode = imagecodecs.png_decode if usual else None
    elif kind == "JPEG" and content.endswith(b"\xff\xd9"):  # it was not cut off
        decode = imagecodecs.jpeg8_decode
    else:
        decode = None
    try:
        pixels = decode(content) if decode else None
    except (RuntimeError, ValueError):
        return None
    # A transparent colour makes a channel.
    return pixels if pixels is not None and pixels.shape[2:] in ((), (3,)) else None


def _decode_with_opencv(path: File, content: bytes, channels: str) -> np.ndarray:
    """Decodes what Pillow would cut to 8 bits."""
    colour = cv2.IMREAD_COLOR if channels == "RGB" else cv2.IMREAD_GRAYSCALE
    flags = colour | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    # Asked first: libpng prints to the terminal.
    whole = not content.startswith(b"\x89PNG") or b"IEND" in content[-16:]
    with _naming(path):
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if whole else None
    if pixels is None:
        raise UserError(f"{path}: cannot be read as an image: it is damaged or cut off")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels) if channels == "RGB" else pixels


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation (1 to 8) of `[H, W, ...]`."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def read_colours(path: File) -> np.ndarray:
    """Reads a mask whose classes are colours.

    Returns:
        `[H, W, 3]` uint8 RGB.

    Raises:
        UserError: The file is missing or damaged.
    """
    with _naming(path), _opened(path) as image:
        pixels = np.asarray(image.convert("RGB"))
        orientation = _orientation(image)
    return np.ascontiguousarray(_turned(pixels, orientation))


def read_onehot(path: File) -> np.ndarray:
    """Reads a mask with a channel for each class.

    Args:
        path: A `.npy` file `[H, W, K]`, of bool, or of integers of which those not 0 are set.

    Returns:
        `[H, W, K]` bool.

    Raises:
        UserError: The file is missing or no such array.
    """
    with _naming(path):
        array = np.load(io.BytesIO(_content(path)), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind not in "bui":
        raise UserError(f"{path}: is not an array [H, W, K] of bool or integers")
    return array != 0
