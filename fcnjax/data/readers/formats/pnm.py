"""Reading of PBM, PGM and PPM files (Netpbm), text or binary, of up to 16 bits a sample."""

import math
import re
from collections.abc import Iterator

import numpy as np

from fcnjax.data.readers.errors import DAMAGE, decode_error
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.limits import refuse_large
from fcnjax.data.readers.stored_pixels import COLOURS, StoredPixels
from fcnjax.errors import UserError

MAGIC = tuple(b"P%d" % kind for kind in range(1, 7))
_SPACE = rb"(?:[ \t\n\v\f\r]|#[^\r\n]*[\r\n])+"
_BLOCK_BYTES = 2**20
_BITS, _COLOUR, _BINARY = (1, 4), (3, 6), (4, 5, 6)
Shape = tuple[int, int, int]


def read_pnm(file: File, content: bytes) -> StoredPixels:
    """Read the only image of a file; bits are 1 for black.

    Raises:
        UserError: The file is damaged, too large, or holds several images.
    """
    kind = int(content[1:2])
    fields = 2 if kind in _BITS else 3
    end = rb"[ \t\n\v\f\r]" if kind in _BINARY else _SPACE
    header = re.match(rb"P\d" + (_SPACE + rb"(\d{1,9})") * fields + end, content)
    if header is None:
        raise decode_error(file, "its header is damaged")
    width, height, *rest = map(int, header.groups())
    max_value = rest[0] if rest else 1
    bands = 3 if kind in _COLOUR else 1
    if not (width and height and 0 < max_value < 65536):
        raise decode_error(file, "its header is damaged")
    refuse_large(file, height, width, 2 * bands, file_bytes=len(content))
    shape = (height, width, bands)
    end = len(content)
    if kind in _BINARY:
        pixels, end = _read_binary(content, header.end(), shape, kind, max_value)
    else:
        pixels = _read_text(content, header.end(), shape, kind, max_value)
    if pixels.max() > max_value:
        raise UserError(
            f"{file}: has pixels of {pixels.max()}, and its largest value is {max_value}"
        )
    if kind in _BINARY and re.match(rb"\s*P[1-6]\s", content[end : end + 64]):
        raise UserError(f"{file}: has several images, of which none can be chosen")
    return StoredPixels(
        pixels=pixels,
        format="PNM",
        colorinterp=COLOURS if bands == 3 else ("gray",),
        max_value=None if max_value in (255, 65535) else max_value,
        white_is_zero=kind in _BITS,
    )


def _read_binary(
    content: bytes, start: int, shape: Shape, kind: int, max_value: int
) -> tuple[np.ndarray, int]:
    """Return the pixels, and where they end in the file."""
    height, width, bands = shape
    dtype = np.dtype(">u2" if max_value > 255 else np.uint8)
    row = (width + 7) // 8 if kind in _BITS else width * bands
    end = start + height * row * dtype.itemsize
    if end > len(content):
        raise ValueError(DAMAGE)
    pixels = np.frombuffer(content, dtype, height * row, start)
    if kind in _BITS:
        return np.unpackbits(pixels.reshape(height, row), axis=1, count=width)[..., None], end
    return pixels.reshape(shape).astype(dtype.newbyteorder("=")), end


def _read_text(content: bytes, start: int, shape: Shape, kind: int, max_value: int) -> np.ndarray:
    count = math.prod(shape)
    text = re.sub(rb"#[^\r\n]*", b" ", content[start:])
    # Each value has a digit: allocate nothing for missing ones.
    if len(content) - start < count or re.search(rb"[^\d\s]", text):
        raise ValueError(DAMAGE)
    pixels = np.empty(count, np.uint8 if max_value < 256 else np.uint16)
    done = 0
    for block in _text_blocks(text):
        # Bits need no space between them.
        words = re.findall(rb"[01]" if kind in _BITS else rb"\d+", block)[: count - done]
        values = np.array(words, dtype="S8").astype(np.int64)
        if values.max(initial=0) > max_value:
            raise ValueError(DAMAGE)
        pixels[done : done + len(values)] = values
        done += len(values)
    if done < count:
        raise ValueError(DAMAGE)
    return pixels.reshape(shape)


def _text_blocks(text: bytes) -> Iterator[bytes]:
    """Yield blocks that end at a space, as each word of a block becomes a Python object."""
    start = 0
    while start < len(text):
        space = re.compile(rb"\s").search(text, start + _BLOCK_BYTES)
        end = space.end() if space else len(text)
        yield text[start:end]
        start = end
