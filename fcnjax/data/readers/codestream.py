"""The size that a JPEG, JPEG-LS or JPEG 2000 codestream claims, without decoding it."""

import re
import struct

_JP2 = b"\0\0\0\x0cjP  "  # begins a file of JPEG 2000, which has the codestream in a box
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Segments that have a size: SOF0 to SOF15 but for tables, and SOF55 of JPEG-LS.
_SIZED = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
MOST_TILES = 4096  # of JPEG 2000; decoders take kilobytes for each
# Markers without a length.
_ALONE = {0x01, *range(0xD0, 0xD9)}


def codestream_size(content: bytes) -> tuple[int, int, int] | None:
    """The height, width and samples of a pixel that a compressed image claims.

    Returns:
        Zeros where it begins as one of these formats and has no clear size, or far too many tiles;
        None where it is of another format.
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
    # Readers differ in where they look, so that all that could be sizes have to agree. Within
    # compressed values these markers do not occur.
    found = {_siz(content, match.start()) for match in re.finditer(re.escape(_JPEG_2000), content)}
    if found and content.startswith(_JP2):
        places = [match.end() for match in re.finditer(b"ihdr", content)]
        found |= {struct.unpack_from(">LLH", content, place) for place in places}
    if len(found) != 1:
        raise ValueError("no size, or several")
    return found.pop()


def _siz(content: bytes, at: int) -> tuple[int, int, int]:
    """What a codestream says: its segment SIZ is the first."""
    right, lower, left, upper, *tile, samples = struct.unpack_from(">8LH", content, at + 8)
    tile_width, tile_height, tile_left, tile_upper = tile
    tiles = -(-(right - tile_left) // tile_width) * -(-(lower - tile_upper) // tile_height)
    if tiles > MOST_TILES:
        raise ValueError("too many tiles")
    return lower - upper, right - left, samples


def _jpeg_size(content: bytes) -> tuple[int, int, int]:
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
