"""Reading of image files, upright by their EXIF orientation, or as stored.

`fcnjax/data/labels/mask_files.py` reads masks.
"""

import io

import imagecodecs
import numpy as np

from fcnjax.config import channel_names
from fcnjax.data.readers.channels import to_channels
from fcnjax.data.readers.errors import decode_errors
from fcnjax.data.readers.formats import pillow, png, pnm
from fcnjax.data.readers.image_file import Encoded, File, read_content, read_start
from fcnjax.data.readers.raster.bands import read_bands
from fcnjax.data.readers.stored_pixels import ImageHeader, StoredPixels, upright
from fcnjax.data.readers.tiff import read as tiff
from fcnjax.io.regular_files import open_regular

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".bmp"}
)
_JPEG = b"\xff\xd8\xff"
# First bytes of the formats that are read without rasterio.
_MAGIC = (*tiff.MAGIC, *pnm.MAGIC, png.MAGIC, _JPEG, b"BM")


def read_image(path: File, channels: str = "RGB", pages: str = "") -> np.ndarray:
    """Read an image.

    Args:
        path: PNG, JPEG, TIFF, PNM or BMP, of any pixel type that float32 represents exactly.
        channels: `RGB` or `L` (grey), to which the file is converted; or comma-separated names of
            bands, which `fcnjax/data/readers/channels.py` resolves.
        pages: `config.data.pages`: "" refuses a file of several pages, `first` reads the first, and
            `channels` reads pages of one band each as the bands of one image.

    Returns:
        `[H, W, C]` uint8, uint16 or float32.

    Raises:
        UserError: The file is missing, damaged or not such an image.
    """
    is_picture = channels in ("RGB", "L")
    if not (is_picture or isinstance(path, Encoded) or read_start(path, 8).startswith(_MAGIC)):
        return read_bands(path, channel_names(channels))
    content = read_content(path)
    pixels = _read_fast(path, content, channels) if is_picture else None
    if pixels is None:
        if pages == "channels" and content.startswith(tiff.MAGIC):
            with decode_errors(path):
                stored = tiff.stack_tiff(path, content)
        else:
            stored = read_stored_pixels(path, 0 if pages == "first" else None, content)
        pixels = upright(to_channels(path, stored, channels), stored.orientation)
    return np.ascontiguousarray(pixels)


def _read_fast(path: File, content: bytes, channels: str) -> np.ndarray | None:
    """Read a plain PNG or JPEG that stores just these channels; None for any other file."""
    if content.startswith(png.MAGIC):
        content = png.strip_trailing_data(content)
    if not content.startswith((png.MAGIC, _JPEG)):
        return None
    with decode_errors(path), pillow.open_image(path, io.BytesIO(content)) as image:
        pillow.refuse_costly(path, image, content)
        is_plain = image.mode == channels and pillow.count_pages(image) == 1
        pixels = _decode_fast(content, image.format) if is_plain else None
        if pixels is None:
            return None
        orientation = pillow.read_orientation(image, content)
    return upright(pixels[..., None] if pixels.ndim == 2 else pixels, orientation)


def _decode_fast(content: bytes, format_name: str) -> np.ndarray | None:
    """Decode a plain PNG faster than OpenCV does, and a plain JPEG faster than Pillow.

    Returns:
        `[H, W]` or `[H, W, 3]` uint8, as Pillow decodes it; None if the file is not plain or seems
        damaged: the slower decoder reports the error.
    """
    decode = None
    if format_name == "PNG" and b"IEND" in content[-16:]:
        # The header's bit depth, colour type (grey or RGB) and interlacing.
        if content[24:26] in (b"\x08\x00", b"\x08\x02") and not content[28]:
            decode = imagecodecs.png_decode
    elif format_name == "JPEG" and content.endswith(b"\xff\xd9"):  # not cut off
        decode = imagecodecs.jpeg8_decode
    try:
        pixels = decode(content) if decode else None
    except (RuntimeError, ValueError):
        return None
    # A transparent colour adds a channel.
    return pixels if pixels is not None and pixels.shape[2:] in ((), (3,)) else None


def read_stored_pixels(
    file: File, page: int | None = None, content: bytes | None = None
) -> StoredPixels:
    """Read the pixels of an image file as stored.

    Args:
        file: PNG, JPEG, BMP, PNM (PBM, PGM, PPM), TIFF, or another format of Pillow.
        page: The page to read, from 0; None: the only one.
        content: The file's bytes, if they are known.

    Returns:
        The pixels, not turned by the file's orientation.

    Raises:
        UserError: The file is missing, damaged, too large, of another format, or has several pages
            and `page` is None.
    """
    content = read_content(file) if content is None else content
    with decode_errors(file):
        if content.startswith(tiff.MAGIC):
            return tiff.read_tiff(file, content, page)
        if content.startswith(pnm.MAGIC):
            return pnm.read_pnm(file, content)
        return pillow.read_with_pillow(file, content, page)


def read_image_header(file: File, limit: int | None = None) -> ImageHeader:
    """Read the header of an image file, without its pixels.

    Args:
        file: As for `read_stored_pixels`.
        limit: Largest number of pixels; None: that of `fcnjax/data/readers/limits.py`.

    Raises:
        TooLarge: The image has more pixels than `limit`, or too many bytes.
        UserError: The file is missing, or is not an image.
    """
    opened = io.BytesIO(file.content) if isinstance(file, Encoded) else open_regular(file)
    with opened as source, decode_errors(file):
        is_tiff = source.read(4).startswith(tiff.MAGIC)
        source.seek(0)
        read = tiff.read_tiff_header if is_tiff else pillow.read_header
        return read(file, source, limit)


def image_size(path: File) -> tuple[int, int]:
    """Return the height and width of an upright image, from the header of the first page.

    Raises:
        UserError: The file is missing, is not an image, or is too large.
    """
    return read_image_header(path).size
