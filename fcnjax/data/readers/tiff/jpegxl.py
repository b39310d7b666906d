"""The size that a JPEG XL image claims, from its SizeHeader (ISO/IEC 18181-1, D.2)."""

from collections.abc import Iterator

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_BITS = (9, 13, 18, 30)
# Ratios of width to height, as numerator and denominator.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def read_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height; None without such a header."""
    stream = next(_codestreams(content), b"")[:16]
    if not stream.startswith(_CODESTREAM) or len(stream) < 3:
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
    return 8 * (1 + bits.take(5)) if is_small else 1 + bits.take(_BITS[bits.take(2)])


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
    if content.startswith(_CODESTREAM):
        yield content
    at = len(_CONTAINER) if content.startswith(_CONTAINER) else len(content)
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
