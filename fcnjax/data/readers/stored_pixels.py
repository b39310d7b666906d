"""The pixels of an image file as they are stored, whatever its format."""

import io
from typing import BinaryIO

from fcnjax.data.readers.formats import pillow, pnm
from fcnjax.data.readers.image_file import Encoded, File, content_of, naming
from fcnjax.data.readers.stored import ImageHeader, StoredPixels
from fcnjax.data.readers.tiff import read as tiff
from fcnjax.io.regular_files import open_regular

__all__ = ["ImageHeader", "StoredPixels", "read_image_header", "read_stored_pixels"]


def read_stored_pixels(
    file: File, page: int | None = None, content: bytes | None = None
) -> StoredPixels:
    """Reads the pixels of an image file as they are stored.

    Args:
        file: PNG, JPEG, BMP, PNM (PBM, PGM, PPM), TIFF, or another format of Pillow.
        page: The page to read, from 0; None: the only one.
        content: The file's bytes, where they are known.

    Returns:
        The pixels, not turned by the file's orientation.

    Raises:
        UserError: The file is missing, damaged, too large, of another format, or holds several
            pages and `page` is None; names the file.
    """
    content = content_of(file) if content is None else content
    with naming(file):
        if content.startswith(tiff.MAGIC):
            return tiff.read_tiff(file, content, page)
        if content.startswith(pnm.MAGIC):
            return pnm.read_pnm(file, content)
        return pillow.read_with_pillow(file, content, page)


def stack_pages(file: File, content: bytes | None = None) -> StoredPixels:
    """Reads the pages of a TIFF, of one band each, as the bands of one image.

    A file of another format is read as `read_stored_pixels` does.

    Raises:
        UserError: As `read_stored_pixels`; or the pages are not alike.
    """
    content = content_of(file) if content is None else content
    if not content.startswith(tiff.MAGIC):
        return read_stored_pixels(file, None, content)
    with naming(file):
        return tiff.stack_tiff(file, content)


def read_image_header(file: File, most: int | None = None) -> ImageHeader:
    """Reads what the header of an image file says, without its pixels.

    Args:
        file: As `read_stored_pixels` takes it.
        most: The most pixels that it may have; None: as `fcnjax/data/readers/limits.py` says.

    Raises:
        TooLarge: It has more pixels than `most`, or too many bytes for so many.
        UserError: The file is missing, or is no image.
    """
    if isinstance(file, Encoded):
        return _read_header(file, io.BytesIO(file.content), most)
    with open_regular(file) as opened:
        return _read_header(file, opened, most)


def _read_header(file: File, source: BinaryIO, most: int | None) -> ImageHeader:
    with naming(file):
        is_tiff = source.read(4).startswith(tiff.MAGIC)
        source.seek(0)
        read = tiff.read_tiff_header if is_tiff else pillow.read_header
        return read(file, source, most)
