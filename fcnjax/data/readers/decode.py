"""Reads image files as arrays, turned as their EXIF orientation says.

Masks are read by `fcnjax/data/labels/mask_files.py`.
"""

import io
from pathlib import Path

import imagecodecs
import numpy as np

from fcnjax.config import channel_names
from fcnjax.data.labels.orientation import upright
from fcnjax.data.readers.channels import to_channels
from fcnjax.data.readers.formats import png, pnm
from fcnjax.data.readers.formats.pillow import opened, orientation_of, pages_of, refuse_costly
from fcnjax.data.readers.image_file import Encoded, File, content_of, naming, start_of
from fcnjax.data.readers.raster.bands import read_bands
from fcnjax.data.readers.stored_pixels import read_image_header, read_stored_pixels, stack_pages
from fcnjax.data.readers.tiff import read as tiff

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
            commas between, as `fcnjax/data/readers/raster/band_names.py` finds them.
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
    content = content_of(path)
    pixels = _read_usual(path, content, channels) if is_picture else None
    if pixels is None:
        if pages == "channels":
            stored = stack_pages(path, content)
        else:
            stored = read_stored_pixels(path, 0 if pages == "first" else None, content)
        pixels = upright(to_channels(path, stored, channels), stored.orientation)
    return np.ascontiguousarray(pixels)


def _is_image(path: str | Path) -> bool:
    """Return whether a file is of a format that is read without rasterio, by its first bytes."""
    return start_of(path, 8).startswith(_MAGIC)


def _read_usual(path: File, content: bytes, channels: str) -> np.ndarray | None:
    """Reads a usual PNG or JPEG in the channels that it has; None: it is another file."""
    if content.startswith(png.MAGIC):
        content = png.without_rest(content)
    if not content.startswith((png.MAGIC, _JPEG)):
        return None
    with naming(path), opened(path, io.BytesIO(content)) as image:
        refuse_costly(path, image, content)
        is_usual = image.mode == channels and pages_of(image) == 1
        pixels = _decode_usual(content, image.format) if is_usual else None
        if pixels is None:
            return None
        orientation = orientation_of(image, content)
    return upright(pixels[..., None] if pixels.ndim == 2 else pixels, orientation)


def image_size(path: File) -> tuple[int, int]:
    """Height and width, from the file's header; of the first page, where there are several.

    Raises:
        UserError: The file is missing, is no image, or is larger than may be decoded.
    """
    return read_image_header(path).size


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
