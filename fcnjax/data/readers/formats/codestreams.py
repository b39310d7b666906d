"""The size, memory and time that compressed images claim, read without decoding them.

JPEG, JPEG-LS and JPEG 2000 in DICOM, JPEG in files and TIFF, and JPEG XL in TIFF (ISO/IEC 18181-1,
D.2).
"""

import re
import struct
from collections.abc import Iterator

from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError

_JP2 = b"\0\0\0\x0cjP  "  # start of a JPEG 2000 file, which has the codestream in a box
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Segments that hold a size: SOF0 to SOF15 except tables, and SOF55 of JPEG-LS.
_SIZED = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# Markers without a length.
_ALONE = {0x01, *range(0xD0, 0xD9)}
# JPEG 2000: decoders allocate kilobytes for each tile, and 500 bytes for each precinct and code
# block into which an image is divided, stored or not.
MAX_TILES, MAX_PARTS = 4096, 2**18
# Progressive JPEG: a decoder goes over the whole image for each scan; ten are typical.
MAX_DICOM_SCANS, _SCAN = 200, b"\xff\xda"
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
MAX_SCANS, TYPICAL_SCANS = 100, 15
MAX_SCANNED = 2_000_000_000  # pixels of all scans together, beyond the typical number of scans
_START_OF_SCAN = 0xDA
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENT_BYTES = 2
_JPEG_XL = b"\xff\x0a"
_JPEG_XL_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_SIDE_BITS = (9, 13, 18, 30)
# Ratios of width to height, as numerator and denominator.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def codestream_size(content: bytes) -> tuple[int, int, int] | None:
    """Return the height, width and samples per pixel that a compressed image claims.

    Returns:
        Zeros if the content starts as one of these formats but has no clear size, or is divided
        into too many parts; None if it has another format.
    """
    try:
        if content.startswith((_JP2, _JPEG_2000)):
            return _jpeg_2000_size(content)
        if content.startswith(_JPEG):
            return _jpeg_size(content)
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        return 0, 0, 0
    return None


def _jpeg_2000_size(content: bytes) -> tuple[int, int, int]:
    # Decoders look for the size in different places: all of them have to agree.
    starts = [match.start() for match in re.finditer(re.escape(_JPEG_2000), content)]
    sizes = {_siz(content, start) for start in starts}
    if sizes and content.startswith(_JP2):
        boxes = [match.end() for match in re.finditer(b"ihdr", content)]
        sizes |= {struct.unpack_from(">LLH", content, box) for box in boxes}
    if len(sizes) != 1:
        raise ValueError("no size, or several")
    size = sizes.pop()
    for start in starts:
        for at, marker in _segments(content, start + 2):
            if marker in (_COD, _COC):
                _refuse_parts(content, at, marker, size)
    return size


def _siz(content: bytes, at: int) -> tuple[int, int, int]:
    """Read the size of a codestream from its first segment, SIZ."""
    right, lower, left, upper, *tile, samples = struct.unpack_from(">8LH", content, at + 8)
    tile_width, tile_height, tile_left, tile_upper = tile
    tiles = -(-(right - tile_left) // tile_width) * -(-(lower - tile_upper) // tile_height)
    if tiles > MAX_TILES:
        raise ValueError("too many tiles")
    return lower - upper, right - left, samples


def _segments(content: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and marker of each segment of the main header and of tile parts."""
    part, length = at, 0
    while at + 2 <= len(content):
        (marker,) = struct.unpack_from(">H", content, at)
        if marker == _EOC:
            return
        if marker == _SOD:  # the data of the tile part follow
            if not length:  # the last part ends with the file
                return
            at = part + length
            continue
        if marker == _SOT:
            (next_length,) = struct.unpack_from(">L", content, at + 6)
            if 0 < next_length < 14:
                raise ValueError("a tile part shorter than its header")
            part, length = at, next_length
        yield at, marker
        (size,) = struct.unpack_from(">H", content, at + 2)
        at += 2 + max(size, 2)


def _refuse_parts(content: bytes, at: int, marker: int, size: tuple[int, int, int]) -> None:
    """Raise ValueError for a coding style with too many precincts or code blocks."""
    height, width, samples = size
    style = at + 4  # after the marker and the length
    if marker == _COC:
        style += 1 if samples < 257 else 2
    # COD has four more bytes in between: progression order, layers and transform.
    levels_at = style + (5 if marker == _COD else 1)
    levels, block_width, block_height = content[levels_at : levels_at + 3]
    if levels > 32 or block_width > 8 or block_height > 8:
        raise ValueError("an unknown coding style")
    parts = 0
    for level in range(levels + 1):
        precinct = content[levels_at + 5 + level] if content[style] & 1 else 0xFF
        wide, high = (-(-length // 2 ** (levels - level)) for length in (width, height))
        parts += -(-wide // 2 ** (precinct & 15)) * -(-high // 2 ** (precinct >> 4))
        block = 2 ** (min(precinct & 15, block_width + 2) + min(precinct >> 4, block_height + 2))
        parts += wide * high // block
    if parts > MAX_PARTS:
        raise ValueError("too many parts")


def _jpeg_size(content: bytes) -> tuple[int, int, int]:
    # The marker does not occur within compressed data.
    if content.count(_SCAN) > MAX_DICOM_SCANS:
        raise ValueError("too many scans")
    at = 2
    while True:
        if content[at] != 0xFF:
            raise ValueError("no marker")
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _SIZED:
            return struct.unpack_from(">HHB", content, at + 5)
        else:
            (length,) = struct.unpack_from(">H", content, at + 2)
            at += 2 + length


def jpeg_pixel_bytes(file: File, content: bytes, bands: int, pixels: int) -> int:
    """Return the bytes that decoding takes for each pixel.

    A decoder keeps the coefficients of the whole image if there are several scans.

    Args:
        file: The file, for the error.
        content: The file, or a strip or tile of a TIFF.
        bands: Bands of the image.
        pixels: Height times width of the image.

    Raises:
        UserError: There are too many scans; each goes over all coefficients.
    """
    first, is_progressive = _first_scan(content)
    scans = content.count(_SCAN, first)
    limit = min(MAX_SCANS, max(MAX_SCANNED // max(pixels, 1), TYPICAL_SCANS))
    if scans > limit:
        raise UserError(f"{file}: has {scans} scans; the limit for an image of its size is {limit}")
    several = is_progressive or scans > 1
    return bands * (1 + _COEFFICIENT_BYTES if several else 1)


def _first_scan(content: bytes) -> tuple[int, bool]:
    """Return the offset of the first scan, and whether a frame header before it is progressive.

    Segments before it may contain other JPEGs, such as thumbnails.
    """
    at, is_progressive = 2, False
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        if marker == _START_OF_SCAN:
            break
        is_progressive |= marker in _PROGRESSIVE
        # Fill bytes, stuffed zeros and markers without a length.
        has_no_length = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        length = 2 + max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
        at += 1 if has_no_length else length
    return at, is_progressive


def jpeg_xl_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height; None without such a header."""
    stream = next(_codestreams(content), b"")[:16]
    if not stream.startswith(_JPEG_XL) or len(stream) < 3:
        return None
    bits = _Bits(stream[2:])
    is_small = bits.take(1)
    height = _side(bits, is_small)
    ratio = bits.take(3)
    if not ratio:
        return _side(bits, is_small), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def _side(bits: "_Bits", is_small: int) -> int:
    return 8 * (1 + bits.take(5)) if is_small else 1 + bits.take(_SIDE_BITS[bits.take(2)])


class _Bits:
    """Reader of bits, least significant first; zeros after the end."""

    def __init__(self, content: bytes):
        self._left = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value


def _codestreams(content: bytes) -> Iterator[bytes]:
    """Yield the bare codestream, or the start of the first one in the boxes of a container."""
    if content.startswith(_JPEG_XL):
        yield content
    at = len(_JPEG_XL_BOXES) if content.startswith(_JPEG_XL_BOXES) else len(content)
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        begin = at + 8
        if size == 1:
            size, begin = int.from_bytes(content[begin : begin + 8], "big"), begin + 8
        if kind in (b"jxlc", b"jxlp"):
            yield content[begin + (4 if kind == b"jxlp" else 0) :][:32]
        if size < 8:
            return
        at += size
