"""Reads image and mask files as arrays.

EXIF orientation is honoured alike for images, masks and sizes, so that a turned photograph and its
mask stay on each other.
"""

import contextlib
import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.bands import read_bands, read_header
from fcnjax.data.limits import TooLarge, refuse_large
from fcnjax.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".bmp"}
)
_ORIENTATION = 0x112  # the EXIF tag
# The limit is our own, of fcnjax.data.limits.
Image.MAX_IMAGE_PIXELS = None
# A broken file is reported by us, once. (A filter of our own around each read would not do:
# filters belong to the process, and files are read in threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class Encoded:
    """An image file that a record of a larger file holds; is read as a path is.

    Attributes:
        content: Its bytes.
        name: What errors call it.
        parent: The set that it is from.
    """

    content: bytes
    name: str
    parent: str
    suffix = ""  # as a path's; what it is, its bytes say

    def __str__(self) -> str:
        return self.name


File = str | Path | Encoded


def read_image(path: File, channels: str = "RGB") -> np.ndarray:
    """Reads an image.

    Args:
        path: PNG, JPEG, TIFF, PPM or BMP, of 8 or 16 bits a channel.
        channels: `RGB` or `L` (grey); what the file holds is converted. Or names of bands, with
            commas between: a raster, read as `fcnjax/data/bands.py` says.

    Returns:
        `[H, W, C]` uint8 or uint16; bands of another type are float32.

    Raises:
        UserError: The file is missing, damaged or no such image; names it.
    """
    if channels not in ("RGB", "L"):
        if isinstance(path, Encoded):
            raise UserError(f"{path}: bands are read from files, not from records of another")
        return read_bands(path, channel_names(channels))
    content = _content(path)
    kind, mode, orientation = _header(path, content)
    if mode == "F":
        raise UserError(f"{path}: has float32 pixels; valid: 8 or 16 bits a channel")
    pixels = _decode_usual(content, kind) if mode == channels else None
    if pixels is None and kind in ("JPEG", "MPO"):
        # Pillow notices a JPEG that was cut off, and other damage; OpenCV fills it with grey, or
        # prints a line, and goes on.
        with _naming(path), _opened(path, content) as image:
            pixels = np.asarray(image if mode == channels else image.convert(channels))
    elif pixels is None:
        pixels = _decode_with_opencv(path, content, channels)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: has {pixels.dtype} pixels; valid: 8 or 16 bits a channel")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return np.ascontiguousarray(_turned(pixels, orientation))


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
    """Height and width, from the file's header.

    Raises:
        UserError: The file is missing, is no image, or is larger than may be decoded.
    """
    try:
        with _naming(path), _opened(path) as image:
            width, height = image.size
            turned = _orientation(image) >= 5
    except TooLarge:
        raise
    except UserError:
        # Pillow knows no TIFF of six bands, or of four of 16 bits.
        if isinstance(path, Encoded) or Path(path).suffix.lower() not in (".tif", ".tiff"):
            raise
        height, width = read_header(path).size
        refuse_large(path, height, width)
        return height, width
    return (width, height) if turned else (height, width)


@contextlib.contextmanager
def _naming(path: File) -> Iterator[None]:
    """Turns any error of a decoder into a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:
        raise UserError(f"{path}: cannot be read as an image: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # Pillow's own words name a buffer in memory here.
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is damaged, or of an unknown format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


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


def _content(path: File) -> bytes:
    if isinstance(path, Encoded):
        return path.content
    with _naming(path):
        return Path(path).read_bytes()


def _header(path: File, content: bytes) -> tuple[str, str, int]:
    """The file's format, Pillow's mode for it, and its EXIF orientation."""
    with _naming(path), _opened(path, content) as image:
        if image.format == "PNG" and _is_plain_png(content):
            # A PNG's own getexif() decodes the picture, for what may stand after the pixels.
            orientation = Image.Image.getexif(image).get(_ORIENTATION, 1)
        else:
            orientation = _orientation(image)
        return image.format, image.mode, orientation


def _is_plain_png(content: bytes) -> bool:
    """Whether a PNG is whole, by its checksums, and has no metadata after its pixels."""
    view, start, pixels = memoryview(content), 8, False
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(view[start : start + 4], "big")
        kind = bytes(view[start + 4 : start + 8])
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return pixels
        pixels = pixels or kind == b"IDAT"
        if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            return False
        start = end + 4
    return False


def _orientation(image: Image.Image) -> int:
    # Both decoders turn a TIFF by themselves, and Pillow gives its size as turned.
    return 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)


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
