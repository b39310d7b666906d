"""Checks of a TIFF before it is decoded: of its directories (IFDs), strips and tiles.

tifffile takes microseconds for each tag, and makes a Python object of each number in some tags.
Directories may overlap and share values, so that a file of kilobytes can list gigabytes of both.

No strip or tile may be missing, or claim more pixels than its size. Decoders of general compression
(deflate, LZW, ZSTD, ...) stop at the size of the strip or tile. Decoders of image formats take the
size from the segment's own header, which is checked here.
"""

import io
import math
import struct
import zlib
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from fcnjax.data.readers.errors import DAMAGE, decode_error
from fcnjax.data.readers.formats.codestreams import jpeg_pixel_bytes, jpeg_xl_size
from fcnjax.data.readers.formats.pillow import FORMATS
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.tiff.pages import GDAL_TAGS, JPEG
from fcnjax.errors import UserError

MAX_PAGES = 10_000
MAX_TAGS = 200_000  # of all pages
_MAX_SHARED_VALUES = 2**20  # bytes of values beyond the size of the file
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_JPEG_XL, _LERC = (50002, 52546), 34887
# Compressions whose segments are files in a format of Pillow.
_IMAGE_FILES = (*JPEG, 33003, 33004, 33005, 34712, 34933, 50001, 34927)
_LERC_PARAMETERS = 50674
_MIN_PIXELS = 4096  # pixels that any segment may claim
_MAX_SHARED = 2**22  # bytes of segments beyond 16 times the file: writers may share equal tiles


class _Layout(NamedTuple):
    """The `struct` formats of a number of tags, of a tag without its value, and of an offset."""

    count: str
    tag: str
    offset: str


_CLASSIC, _BIG = _Layout("H", "HHI", "I"), _Layout("Q", "HHQ", "Q")


def refuse_directories(file: File, source: BinaryIO) -> None:
    """Raise UserError if the directories of a TIFF list more than a file of its size can hold.

    tifffile reports damage. The position in the source is kept.

    Args:
        file: The file, for errors.
        source: The open file.
    """
    start = source.tell()
    size = source.seek(0, 2)
    source.seek(0)
    head = source.read(16)
    order = "<" if head[:1] == b"I" else ">"
    layout = _BIG if head[2:4] in (b"+\0", b"\0+") else _CLASSIC
    at = 8 if layout is _BIG else 4
    pages = tags = values = 0
    try:
        offset = struct.unpack_from(order + layout.offset, head, at)[0]
        visited: set[int] = set()
        while offset and offset not in visited:
            visited.add(offset)
            pages += 1
            if pages > MAX_PAGES:
                raise UserError(f"{file}: has more than {MAX_PAGES} pages, the limit")
            source.seek(offset)
            count, loaded, offset = _directory(source, order, layout)
            tags += count
            values += loaded
            if tags > MAX_TAGS or values > size + _MAX_SHARED_VALUES:
                raise UserError(
                    f"{file}: has {tags} tags with {values} bytes of values in {pages} pages; "
                    f"valid: up to {MAX_TAGS} tags, and no more bytes than the file"
                )
    except (struct.error, OverflowError, OSError):
        pass
    finally:
        source.seek(start)


def _directory(source: BinaryIO, order: str, layout: _Layout) -> tuple[int, int, int]:
    """Return the number of tags, the bytes that tifffile loads, and the next directory."""
    import tifffile

    offset_bytes = struct.calcsize(layout.offset)
    tag_bytes = struct.calcsize("<" + layout.tag) + offset_bytes
    count = struct.unpack(order + layout.count, source.read(struct.calcsize(layout.count)))[0]
    if count > 4096:  # tifffile treats it as damage
        raise struct.error
    content = source.read(count * tag_bytes + offset_bytes)
    loaded = 0
    for number in range(count):
        code, kind, values = struct.unpack_from(order + layout.tag, content, number * tag_bytes)
        if code in tifffile.TIFF.TAG_LOAD:
            loaded += values * _TYPE_BYTES.get(kind, 8)
    following = struct.unpack_from(order + layout.offset, content, count * tag_bytes)[0]
    return count, loaded, following


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
    if (total := sum(counts)) > 16 * handle.size + _MAX_SHARED_VALUES:
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
        return jpeg_xl_size(segment)
    if page.compression == _LERC:
        return _lerc_size(page, segment)
    return _image_size(file, page, segment)


def _image_size(file: File, page: Any, segment: bytes) -> tuple[int, int] | None:
    if page.compression in JPEG:  # refuses many scans
        jpeg_pixel_bytes(file, segment, page.samplesperpixel, math.prod(page.chunks))
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
