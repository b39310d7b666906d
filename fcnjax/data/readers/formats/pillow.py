"""Reading of PNG, JPEG, BMP and the other formats that Pillow decodes."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from fcnjax.data.readers.errors import decode_error
from fcnjax.data.readers.formats import png
from fcnjax.data.readers.formats.codestreams import jpeg_pixel_bytes
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.stored_pixels import (
    CMYK,
    COLOURS,
    ImageHeader,
    StoredPixels,
    valid_orientation,
)
from fcnjax.errors import UserError

_ORIENTATION = 0x112  # the EXIF tag
_COLORINTERP = {
    "1": ("gray",),
    "L": ("gray",),
    "P": ("palette",),
    "LA": ("gray", "alpha"),
    "RGB": COLOURS,
    "RGBA": (*COLOURS, "alpha"),
    "CMYK": CMYK,
}
_PNG_COLORINTERP = {1: ("gray",), 2: ("gray", "alpha"), 3: COLOURS, 4: (*COLOURS, "alpha")}
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO, of some cameras, is a JPEG with a second view
# Formats that Pillow may open: for EPS it would start Ghostscript, and some open other files.
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "WEBP")
# Bytes of a pixel in Pillow, by mode, or by format if the decoder makes copies.
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2}
_DECODER_BYTES = {"WEBP": 12}
_STRIP_PIXELS = 2**22  # pixels that are converted at a time


@contextlib.contextmanager
def open_image(file: File, source: Any, limit: int | None = None) -> Iterator[Image.Image]:
    """Open an image file, reading only its header.

    Args:
        file: The file, for errors.
        source: A path, or an open file.
        limit: Largest number of pixels, as in `refuse_large`.

    Raises:
        TooLarge: The image is too large.
    """
    with Image.open(source, formats=FORMATS) as image:
        size = _DECODER_BYTES.get(image.format, _PIXEL_BYTES.get(image.mode, 4))
        if image.format in _JPEG_FORMATS:
            size = len(image.getbands())
        refuse_large(file, image.height, image.width, size, limit, file_size(file))
        yield image


def read_header(file: File, source: Any, limit: int | None = None) -> ImageHeader:
    """Read the header of an image file; arguments and errors as for `open_image`."""
    with open_image(file, source, limit) as image:
        name = "PNM" if image.format == "PPM" else image.format
        # Decode a PNG for its orientation only if that may follow the pixels.
        late = image.format == "PNG" and png.has_late_metadata(image.fp)
        orientation = valid_orientation(_exif(image, decode=late).get(_ORIENTATION))
        return ImageHeader(name, image.height, image.width, orientation, count_pages(image))


def read_with_pillow(file: File, content: bytes, page: int | None) -> StoredPixels:
    """Read an image; see `read_stored_pixels`.

    Raises:
        UserError: The image is too large, an animation, or of an unsupported kind.
    """
    if content.startswith(png.MAGIC):
        content = png.strip_trailing_data(content)
        if not content:  # Pillow would decode whatever follows as pixels
            raise decode_error(file)
    with open_image(file, io.BytesIO(content)) as image:
        refuse_costly(file, image, content)
        if (count := count_pages(image)) > 1 and page is None:
            number = count if image.format != "GIF" else "several"
            raise UserError(
                f"{file}: holds {number} pages or frames; config.data.pages=first reads the first"
            )
        if page:
            image.seek(page)
        orientation = read_orientation(image, content)
        if image.format == "PNG" and (png.bit_depth(content) == 16 or png.has_alpha(content)):
            pixels = png.decode(content)
            colorinterp = _PNG_COLORINTERP[pixels.shape[-1]]
            return StoredPixels(pixels, "PNG", colorinterp, orientation=orientation)
        if image.mode not in _COLORINTERP:
            raise UserError(f"{file}: has pixels of the kind {image.mode}, which cannot be read")
        pixels, max_value = _pixels(image, content)
        flat = image.getpalette("RGB") if image.mode == "P" else None
        if image.mode == "P" and not flat:
            raise decode_error(file, "its palette is empty")
        palette = flat and [tuple(flat[i : i + 3]) for i in range(0, len(flat), 3)]
        return StoredPixels(
            pixels,
            image.format,
            _COLORINTERP[image.mode],
            palette=palette,
            max_value=max_value,
            orientation=orientation,
        )


def refuse_costly(file: File, image: Image.Image, content: bytes) -> None:
    """Raise `TooLarge` if decoding takes too much besides the 8-bit pixels of the image.

    That applies to samples of 16 bits in a PNG, and to the scans of a progressive JPEG, each of
    which goes over all coefficients.
    """
    if image.format == "PNG":
        pixel_bytes = png.pixel_bytes(content)
    elif image.format in _JPEG_FORMATS:
        pixels = image.height * image.width
        pixel_bytes = jpeg_pixel_bytes(file, content, len(image.getbands()), pixels)
    else:
        return
    refuse_large(file, image.height, image.width, pixel_bytes, file_bytes=len(content))


def _pixels(image: Image.Image, content: bytes) -> tuple[np.ndarray, int | None]:
    """Return the pixels `[H, W, C]` uint8 as stored, and the largest possible value or None."""
    max_value, step = None, 1
    if image.mode == "1":
        max_value = 1
    elif image.format == "PNG" and image.mode == "L" and (bits := png.bit_depth(content)) < 8:
        max_value = 2**bits - 1
        step = 255 // max_value  # Pillow has scaled the samples
    width, height = image.size
    rows = max(_STRIP_PIXELS // width, 1)
    if rows >= height:
        return _strip(image, step), max_value
    # Pillow makes several copies of the pixels it converts.
    pixels = np.empty((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _strip(image.crop((0, top, width, bottom)), step)
    return pixels, max_value


def _strip(image: Image.Image, step: int) -> np.ndarray:
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(pixels // step if step > 1 else pixels, np.uint8)


def read_orientation(image: Image.Image, content: bytes = b"") -> int:
    """Return the EXIF orientation, 1 to 8, of an image whose file holds `content`."""
    is_plain = image.format == "PNG" and content and png.is_plain(content)
    return valid_orientation(_exif(image, decode=not is_plain).get(_ORIENTATION))


def _exif(image: Image.Image, decode: bool) -> Image.Exif:
    """Return the EXIF tags; `decode` a PNG to find those after its pixels."""
    return image.getexif() if decode else Image.Image.getexif(image)


def count_pages(image: Image.Image) -> int:
    """Count the images in a file; 2 for any animated GIF, whose frames are not read."""
    if image.format == "GIF":
        return 2 if image.is_animated else 1
    return 1 if image.format in _JPEG_FORMATS else getattr(image, "n_frames", 1)
