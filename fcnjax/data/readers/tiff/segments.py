"""Checks of strips and tiles: none may be missing, or claim more pixels than its size.

Decoders of general compression (deflate, LZW, ZSTD, ...) stop at the size of the strip or tile.
Decoders of image formats take the size from the segment's own header, which is checked here.
"""

import io
import math
import zlib
from typing import Any

from PIL import Image

from fcnjax.data.readers.errors import DAMAGE, decode_error
from fcnjax.data.readers.formats import jpeg
from fcnjax.data.readers.formats.pillow import FORMATS
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.tiff import jpegxl
from fcnjax.data.readers.tiff.checks import GDAL_TAGS, JPEG

_JPEG_XL, _LERC = (50002, 52546), 34887
# Compressions whose segments are files in a format of Pillow.
_IMAGE_FILES = (*JPEG, 33003, 33004, 33005, 34712, 34933, 50001, 34927)
_LERC_PARAMETERS = 50674
_MIN_PIXELS = 4096  # pixels that any segment may claim
_MAX_SHARED = 2**22  # bytes of segments beyond 16 times the file: writers may share equal tiles


def refuse_segments(file: File, page: Any) -> None:
    """Raise UserError if strips or tiles of a page are missing or too large."""
    needed = math.prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    handle = page.parent.filehandle
    if not len(offsets) == len(counts) == needed:
        raise decode_error(file, f"{DAMAGE}: has {len(offsets)} strips or tiles of {needed}")
    # GDAL leaves out those without data.
    may_lack = any(tag in page.tags for tag in GDAL_TAGS)
    for offset, count in zip(offsets, counts, strict=True):
        if offset + count > handle.size or (not (offset and count) and not may_lack):
            raise decode_error(file)
    if (total := sum(counts)) > 16 * handle.size + _MAX_SHARED:
        reason = f"{DAMAGE}: its strips or tiles have {total} bytes of {handle.size}"
        raise decode_error(file, reason)
    if page.compression not in (*_IMAGE_FILES, *_JPEG_XL, _LERC):
        return
    rows, columns = page.chunks[:2] if page.planarconfig == 1 else page.chunks[-2:]
    limit = 2 * max(rows * columns, _MIN_PIXELS)
    for offset, count in zip(offsets, counts, strict=True):
        handle.seek(offset)
        segment = handle.read(count) if count else b""
        size = _claimed_size(file, page, segment)
        if size is not None and size[0] * size[1] > limit:
            reason = f"{DAMAGE}: a part of it claims to be {size[0]}x{size[1]} pixels"
            raise decode_error(file, reason)


def _claimed_size(file: File, page: Any, segment: bytes) -> tuple[int, int] | None:
    """Return width and height by a segment's own header; None if it cannot be read."""
    if page.compression in _JPEG_XL:
        return jpegxl.read_size(segment)
    if page.compression == _LERC:
        return _lerc_size(page, segment)
    return _image_size(file, page, segment)


def _image_size(file: File, page: Any, segment: bytes) -> tuple[int, int] | None:
    if page.compression in JPEG:  # refuses many scans
        jpeg.pixel_bytes(file, segment, page.samplesperpixel, math.prod(page.chunks))
    try:
        with Image.open(io.BytesIO(segment), formats=(*FORMATS, "JPEG2000")) as image:
            return image.size
    except Exception:
        return None  # its decoder reports what is wrong


def _lerc_size(page: Any, segment: bytes) -> tuple[int, int] | None:
    """Return the width of a Lerc2 header, and its height times the values per pixel."""
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
