"""The size that a JPEG, JPEG-LS or JPEG 2000 codestream claims, without decoding it."""

import re
import struct
from collections.abc import Iterator

_JP2 = b"\0\0\0\x0cjP  "  # begins a file of JPEG 2000, which has the codestream in a box
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Segments that have a size: SOF0 to SOF15 but for tables, and SOF55 of JPEG-LS.
_SIZED = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# Markers without a length.
_ALONE = {0x01, *range(0xD0, 0xD9)}
# Of JPEG 2000: decoders take kilobytes for each tile, and 500 bytes for each precinct and block
# that an image is divided into, whether it is stored or not.
MOST_TILES, MOST_PARTS = 4096, 2**18
# Of a progressive JPEG, whose whole image a decoder passes through for each; usual are ten.
MOST_SCANS, _SCAN = 200, b"\xff\xda"
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9


def codestream_size(content: bytes) -> tuple[int, int, int] | None:
    """The height, width and samples of a pixel that a compressed image claims.

    Returns:
        Zeros where it begins as one of these formats and has no clear size, or is divided into far
        too many parts; None where it is of another format.
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
    # Readers differ in where they look, so that all that could be sizes have to agree.
    places = [match.start() for match in re.finditer(re.escape(_JPEG_2000), content)]
    found = {_siz(content, place) for place in places}
    if found and content.startswith(_JP2):
        boxes = [match.end() for match in re.finditer(b"ihdr", content)]
        found |= {struct.unpack_from(">LLH", content, place) for place in boxes}
    if len(found) != 1:
        raise ValueError("no size, or several")
    size = found.pop()
    for place in places:
        for at, marker in _segments(content, place + 2):
            if marker in (_COD, _COC):
                _refuse_parts(content, at, marker, size)
    return size


def _siz(content: bytes, at: int) -> tuple[int, int, int]:
    """Reads the size of a codestream, whose segment SIZ is the first."""
    right, lower, left, upper, *tile, samples = struct.unpack_from(">8LH", content, at + 8)
    tile_width, tile_height, tile_left, tile_upper = tile
    tiles = -(-(right - tile_left) // tile_width) * -(-(lower - tile_upper) // tile_height)
    if tiles > MOST_TILES:
        raise ValueError("too many tiles")
    return lower - upper, right - left, samples


def _segments(content: bytes, at: int) -> Iterator[tuple[int, int]]:
    """The place and the marker of each segment of the main header and those of tile parts."""
    part, length = at, 0
    while at + 2 <= len(content):
        (marker,) = struct.unpack_from(">H", content, at)
        if marker == _EOC:
            return
        if marker == _SOD:  # what follows are the values of the tile part
            if not length:  # of the last one, up to the end
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
    """Raises ValueError for a coding style of too many precincts or blocks of code."""
    height, width, samples = size
    style = at + 4  # after the marker and the length
    if marker == _COC:
        style += 1 if samples < 257 else 2
    # Of all components there are four more values between: order, layers and transform.
    levels_at = style + (5 if marker == _COD else 1)
    levels, block_width, block_height = content[levels_at : levels_at + 3]
    if levels > 32 or block_width > 8 or block_height > 8:
        raise ValueError("an unknown coding style")
    parts = 0
    for level in range(levels + 1):
        given = content[levels_at + 5 + level] if content[style] & 1 else 0xFF
        wide, high = (-(-length // 2 ** (levels - level)) for length in (width, height))
        parts += -(-wide // 2 ** (given & 15)) * -(-high // 2 ** (given >> 4))
        block = 2 ** (min(given & 15, block_width + 2) + min(given >> 4, block_height + 2))
        parts += wide * high // block
    if parts > MOST_PARTS:
        raise ValueError("too many parts")


def _jpeg_size(content: bytes) -> tuple[int, int, int]:
    # Within compressed values the marker does not occur.
    if content.count(_SCAN) > MOST_SCANS:
        raise ValueError("too many scans")
    at = 2
    while True:
        if content[at] != 0xFF:
            raise ValueError("no marker")
        marker = content[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _SIZED:
            return struct.unpack_from(">HHB", content, at + 5)
        else:
            (length,) = struct.unpack_from(">H", content, at + 2)
            at += 2 + length
