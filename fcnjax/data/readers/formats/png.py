"""The chunks of a PNG, and its pixels where Pillow is slower or would cut 16 bits to 8."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np

from fcnjax.data.readers.errors import DAMAGE

MAGIC = b"\x89PNG\r\n\x1a\n"
# Number of bands by the header's colour type.
_BANDS = {0: 1, 2: 3, 4: 2, 6: 4}
_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the complete chunks of a PNG: the name, and the offsets of chunk and checksum."""
    view, start = memoryview(content), len(MAGIC)
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(view[start : start + 4], "big")
        if end + 4 > len(content):
            return
        kind = bytes(view[start + 4 : start + 8])
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end + 4


def strip_trailing_data(content: bytes) -> bytes:
    """Return a PNG without the bytes after its last chunk; b"" if it is cut off."""
    for kind, _, end in _chunks(content):
        if kind == b"IEND":
            return content if end + 4 == len(content) else content[: end + 4]
    return b""


def _has_valid_checksum(content: bytes, start: int, end: int) -> bool:
    """Return whether the checksum of a chunk is correct."""
    view = memoryview(content)
    return zlib.crc32(view[start + 4 : end]) == int.from_bytes(view[end : end + 4], "big")


def is_plain(content: bytes) -> bool:
    """Return whether a PNG has valid checksums, and no metadata after its pixels."""
    has_pixels = False
    for kind, start, end in _chunks(content):
        if not _has_valid_checksum(content, start, end):
            return False
        if kind == b"IEND":
            return has_pixels
        has_pixels = has_pixels or kind == b"IDAT"
        if has_pixels and kind in _METADATA:
            return False
    return False


def has_late_metadata(file: BinaryIO) -> bool:
    """Return whether an open PNG has metadata after its pixels; its file position is kept."""
    position, has_pixels, late = file.tell(), False, False
    file.seek(len(MAGIC))
    while not late and len(head := file.read(8)) == 8:
        has_pixels = has_pixels or head[4:] == b"IDAT"
        late = has_pixels and head[4:] in _METADATA
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    file.seek(position)
    return late


def bit_depth(content: bytes) -> int:
    """Return the bits of a sample, from the header."""
    return content[24]


def pixel_bytes(content: bytes) -> int:
    """Return the bytes of a decoded pixel, from the header."""
    return _BANDS.get(content[25], 1) * (2 if content[24] == 16 else 1)


def has_alpha(content: bytes) -> bool:
    """Return whether a PNG has an alpha channel and is not interlaced, from the header."""
    return content[25] in (4, 6) and not content[28]


def decode(content: bytes) -> np.ndarray:
    """Return the pixels `[H, W, C]` of a PNG of 8 or 16 bits without palette.

    A transparent colour adds no band.

    Raises:
        ValueError: The file is damaged or cut off.
    """
    # libpng would print errors to the terminal, and fill missing pixels.
    content = strip_trailing_data(content)
    chunks = list(_chunks(content))
    if not (content and all(_has_valid_checksum(content, *span) for _, *span in chunks)):
        raise ValueError(DAMAGE)
    pixels = imagecodecs.png_decode(content)
    bands = _BANDS[content[25]]
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(pixels[..., :bands])
