"""Reads what is neither TIFF nor PNM: PNG, JPEG, BMP, and the others that Pillow knows."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from fcnjax.data.readers.formats import jpeg, png
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.stored import COLOURS, ImageHeader, StoredPixels
from fcnjax.errors import UserError

_ORIENTATION = 0x112  # the EXIF tag
_MARKS = {
    "1": ("gray",),
    "L": ("gray",),
    "P": ("palette",),
    "LA": ("gray", "alpha"),
    "RGB": COLOURS,
    "RGBA": (*COLOURS, "alpha"),
    "CMYK": ("cyan", "magenta", "yellow", "black"),
}
_PNG_MARKS = {1: ("gray",), 2: ("gray", "alpha"), 3: COLOURS, 4: (*COLOURS, "alpha")}
_ONE_PICTURE = ("JPEG", "MPO")  # the JPEG of some cameras, MPO, has a second view
# Pillow knows more: for EPS it starts Ghostscript, and others open further files.
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "WEBP")
# Bytes that Pillow keeps of a pixel, by mode, or by format where its decoder has copies.
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2}
_DECODER_BYTES = {"WEBP": 12}
_STRIP_PIXELS = 2**22  # that are converted at a time


@contextlib.contextmanager
def opened(file: File, source: Any, most: int | None = None) -> Iterator[Image.Image]:
    """Opens an image file, and reads its header alone.

    Args:
        file: What errors name.
        source: A path, or an open file.
        most: The most pixels, as `refuse_large` takes it.

    Raises:
        TooLarge: It is too large.
    """
    with Image.open(source, formats=FORMATS) as image:
        size = _DECODER_BYTES.get(image.format, _PIXEL_BYTES.get(image.mode, 4))
        if image.format in _ONE_PICTURE:
            size = len(image.getbands())
        refuse_large(file, image.height, image.width, size, most, file_size(file))
        yield image


def read_header(file: File, source: Any, most: int | None = None) -> ImageHeader:
    """The header of an image file; arguments and errors as `opened` has."""
    with opened(file, source, most) as image:
        name = "PNM" if image.format == "PPM" else image.format
        # A PNG is decoded for its orientation only where that may stand after the pixels.
        late = image.format == "PNG" and png.has_late_metadata(image.fp)
        exif = image.getexif() if late else Image.Image.getexif(image)
        return ImageHeader(name, image.height, image.width, _valid(exif), pages_of(image))


def read_with_pillow(file: File, content: bytes, page: int | None) -> StoredPixels:
    """Reads a picture, as `read_stored_pixels` does.

    Raises:
        UserError: It is too large, of a kind that cannot be read, or an animation; names it.
    """
    if content.startswith(png.MAGIC):
        content = png.without_rest(content)
        if not content:  # Pillow takes whatever follows for pixels
            raise UserError(f"{file}: cannot be read as an image: it is damaged or cut off")
    with opened(file, io.BytesIO(content)) as image:
        refuse_costly(file, image, content)
        if (count := pages_of(image)) > 1 and page is None:
            number = count if image.format != "GIF" else "several"
            raise UserError(
                f"{file}: holds {number} pictures, or moves; config.data.pages=first reads the "
                "first"
            )
        if page:
            image.seek(page)
        orientation = orientation_of(image, content)
        if image.format == "PNG" and (png.bits_of(content) == 16 or png.has_alpha(content)):
            pixels = png.decode(content)
            marks = _PNG_MARKS[pixels.shape[-1]]
            return StoredPixels(pixels, "PNG", marks, orientation=orientation)
        if image.mode not in _MARKS:
            raise UserError(f"{file}: has pixels of the kind {image.mode}, which cannot be read")
        pixels, full = _pixels(image, content)
        flat = image.getpalette("RGB") if image.mode == "P" else None
        if image.mode == "P" and not flat:
            raise UserError(f"{file}: cannot be read as an image: its palette is empty")
        palette = flat and [tuple(flat[i : i + 3]) for i in range(0, len(flat), 3)]
        return StoredPixels(
            pixels, image.format, _MARKS[image.mode], (), palette, full, orientation=orientation
        )


def refuse_costly(file: File, image: Image.Image, content: bytes) -> None:
    """Raises `TooLarge` for what decoding takes by more than the size of the image.

    These are samples of 16 bits in a PNG, and the scans of a progressive JPEG, each of which goes
    over all of its coefficients.
    """
    if image.format == "PNG":
        pixel_bytes = png.pixel_bytes(content)
    elif image.format in _ONE_PICTURE:
        pixels = image.height * image.width
        pixel_bytes = jpeg.pixel_bytes(file, content, len(image.getbands()), pixels)
    else:
        return
    refuse_large(file, image.height, image.width, pixel_bytes, file_bytes=len(content))


def _pixels(image: Image.Image, content: bytes) -> tuple[np.ndarray, int | None]:
    """The pixels `[H, W, C]` uint8 as stored, and the greatest value that a sample can have."""
    full, step = None, 1
    if image.mode == "1":
        full = 1
    elif image.format == "PNG" and image.mode == "L" and (bits := png.bits_of(content)) < 8:
        full = 2**bits - 1
        step = 255 // full  # Pillow has scaled them
    width, height = image.size
    rows = max(_STRIP_PIXELS // width, 1)
    if rows >= height:
        return _strip(image, step), full
    # Pillow makes several copies of what it converts.
    pixels = np.empty((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _strip(image.crop((0, top, width, bottom)), step)
    return pixels, full


def _strip(image: Image.Image, step: int) -> np.ndarray:
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(pixels // step if step > 1 else pixels, np.uint8)


def orientation_of(image: Image.Image, content: bytes = b"") -> int:
    """The EXIF orientation, 1 to 8; `content`, the file, spares a PNG from being decoded for it."""
    # A PNG's own getexif() decodes the picture, for what may stand after the pixels.
    plain = image.format == "PNG" and content and png.is_plain(content)
    exif = Image.Image.getexif(image) if plain else image.getexif()
    return _valid(exif)


def _valid(exif: Image.Exif) -> int:
    found = exif.get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def pages_of(image: Image.Image) -> int:
    """Count the pictures that a file holds; 2 for a GIF of several, whose frames are not read."""
    if image.format == "GIF":
        return 2 if image.is_animated else 1
    return 1 if image.format in _ONE_PICTURE else getattr(image, "n_frames", 1)
