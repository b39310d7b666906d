"""The chunks of a PNG file, and its pixels where Pillow is slower, or would cut 16 bits to 8."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np

MAGIC = b"\x89PNG\r\n\x1a\n"
# By the header's kind of colour.
_BANDS = {0: 1, 2: 3, 4: 2, 6: 4}
_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The whole chunks of a PNG, up to its last: the name, and where chunk and checksum begin."""
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


def without_rest(content: bytes) -> bytes:
    """The PNG without what follows its last chunk, which is no part of it; b"" if it is cut off."""
    for kind, _, end in _chunks(content):
        if kind == b"IEND":
            return content if end + 4 == len(content) else content[: end + 4]
    return b""


def _fits(content: bytes, start: int, end: int) -> bool:
    """Return whether the checksum of a chunk is right."""
    view = memoryview(content)
    return zlib.crc32(view[start + 4 : end]) == int.from_bytes(view[end : end + 4], "big")


def is_plain(content: bytes) -> bool:
    """Return whether a PNG is whole, by its checksums, and has no metadata after its pixels."""
    pixels = False
    for kind, start, end in _chunks(content):
        if not _fits(content, start, end):
            return False
        if kind == b"IEND":
            return pixels
        pixels = pixels or kind == b"IDAT"
        if pixels and kind in _METADATA:
            return False
    return False


def has_late_metadata(file: BinaryIO) -> bool:
    """Return whether an open PNG has metadata after its pixels; its place in the file stays."""
    place, seen, late = file.tell(), False, False
    file.seek(len(MAGIC))
    while not late and len(head := file.read(8)) == 8:
        seen = seen or head[4:] == b"IDAT"
        late = seen and head[4:] in _METADATA
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    file.seek(place)
    return late


def bits_of(content: bytes) -> int:
    """Bits a sample, by the header."""
    return content[24]


def pixel_bytes(content: bytes) -> int:
    """The bytes of a decoded pixel, by the header."""
    return _BANDS.get(content[25], 1) * (2 if content[24] == 16 else 1)


def has_alpha(content: bytes) -> bool:
    """Return whether a PNG has a band of transparency, by the header, and is not interlaced."""
    return content[25] in (4, 6) and not content[28]


def decode(content: bytes) -> np.ndarray:
    """The pixels `[H, W, C]` of a PNG of 8 or 16 bits without palette.

    A transparent colour makes no band.

    Raises:
        ValueError: It is damaged or cut off.
    """
    # libpng would print to the terminal, and fill up.
    content = without_rest(content)
    if not (content and all(_fits(content, start, end) for _, start, end in _chunks(content))):
        raise ValueError("it is damaged or cut off")
    pixels = imagecodecs.png_decode(content)
    bands = _BANDS[content[25]]
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(pixels[..., :bands])
