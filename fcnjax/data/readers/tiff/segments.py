"""Refusals of strips and tiles that are not all there, or that claim more than their size.

Decoders of general compression (deflate, LZW, ZSTD, ...) stop at the size of the strip or tile.
Those of image formats take the size from the segment's own header, which is checked here.
"""

import io
import math
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from fcnjax.data.readers.formats import jpeg
from fcnjax.data.readers.formats.pillow import FORMATS
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.tiff import jpegxl
from fcnjax.errors import UserError

_GDAL_TAGS = (33922, 34264, 34735, 42112, 42113)
_JPEG = (6, 7, 34892, 33007)
_JPEG_XL, _LERC = (50002, 52546), 34887
# Compressions whose segments are files of formats that Pillow knows.
_IMAGE_FILES = (*_JPEG, 33003, 33004, 33005, 34712, 34933, 50001, 34927)
_LERC_PARAMETERS = 50674
_SMALL = 4096  # pixels that a segment may claim whatever its size
_MOST_SHARED = 2**22  # bytes of segments beyond 16 times the file: writers may repeat an equal tile


def refuse_segments(file: File, page: Any) -> None:
    """Raises UserError where the strips or tiles of a page are not all there, or are too large."""
    needed = math.prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    handle = page.parent.filehandle
    damaged = f"{file}: cannot be read as an image: it is damaged or cut off"
    if not len(offsets) == len(counts) == needed:
        raise UserError(f"{damaged}: has {len(offsets)} strips or tiles of {needed}")
    # GDAL leaves out those without data.
    may_lack = any(tag in page.tags for tag in _GDAL_TAGS)
    for offset, count in zip(offsets, counts, strict=True):
        if offset + count > handle.size or (not (offset and count) and not may_lack):
            raise UserError(damaged)
    if (total := sum(counts)) > 16 * handle.size + _MOST_SHARED:
        raise UserError(f"{damaged}: its strips or tiles have {total} bytes of {handle.size}")
    rows, columns = page.chunks[:2] if page.planarconfig == 1 else page.chunks[-2:]
    most = 2 * max(rows * columns, _SMALL)
    for offset, count in zip(offsets, counts, strict=True) if _has_own_size(page) else ():
        handle.seek(offset)
        segment = handle.read(count) if count else b""
        for width, height in _sizes(file, page, segment):
            if width * height > most:
                raise UserError(f"{damaged}: a part of it claims to be {width}x{height} pixels")


def _has_own_size(page: Any) -> bool:
    return page.compression in (*_IMAGE_FILES, *_JPEG_XL, _LERC)


def _sizes(file: File, page: Any, segment: bytes) -> Iterator[tuple[int, int]]:
    """Width and height that a segment claims; nothing where its header cannot be read."""
    if page.compression in _JPEG_XL:
        size = jpegxl.size_of(segment)
    elif page.compression == _LERC:
        size = _lerc_size(page, segment)
    else:
        size = _image_size(file, page, segment)
    if size is not None:
        yield size


def _image_size(file: File, page: Any, segment: bytes) -> tuple[int, int] | None:
    if page.compression in _JPEG:  # many scans are refused
        jpeg.pixel_bytes(file, segment, page.samplesperpixel, math.prod(page.chunks))
    try:
        with Image.open(io.BytesIO(segment), formats=(*FORMATS, "JPEG2000")) as image:
            return image.size
    except Exception:
        return None  # its decoder reports what is wrong


def _lerc_size(page: Any, segment: bytes) -> tuple[int, int] | None:
    """Width and height by the header of Lerc2, the height times the values of a pixel."""
    import imagecodecs

    parameters = page.tags.valueof(_LERC_PARAMETERS, ())
    kind = parameters[1] if isinstance(parameters, tuple) and len(parameters) > 1 else 0
    try:
        if kind == 1:
            segment = zlib.decompressobj().decompress(segment, 128)
        elif kind == 2:
            segment = imagecodecs.zstd_decode(segment, out=2 * math.prod(page.chunks) * 8 + 2**16)
    except Exception:
        return None  # its decoder reports what is wrong
    if segment[:6] != b"Lerc2 ":
        return None
    version = int.from_bytes(segment[6:10], "little", signed=True)
    at = 10 if version < 3 else 14  # a checksum
    numbers = [int.from_bytes(segment[i : i + 4], "little") for i in range(at, at + 12, 4)]
    rows, columns, values = numbers if version >= 4 else (*numbers[:2], 1)
    return columns, -(-rows * values // max(page.samplesperpixel, 1))
