"""Reading of PBM, PGM and PPM files (Netpbm), text or binary, of up to 16 bits a sample."""

import re
from collections.abc import Iterator

import numpy as np

from fcnjax.data.readers.errors import decode_error
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
    header = re.match(rb"P\d" + (_SPACE + rb"(\d{1,9})") * fields + rb"[ \t\n\v\f\r]", content)
    if header is None and kind not in _BINARY:
        header = re.match(rb"P\d" + (_SPACE + rb"(\d{1,9})") * fields + _SPACE, content)
    if header is None:
        raise decode_error(file, "its header is damaged")
    width, height, *rest = map(int, header.groups())
    max_value = rest[0] if rest else 1
    bands = 3 if kind in _COLOUR else 1
    if not (width and height and 0 < max_value < 65536):
        raise decode_error(file, "its header is damaged")
    refuse_large(file, height, width, 2 * bands, file_bytes=len(content))
    read = _read_binary if kind in _BINARY else _read_text
    pixels, end = read(content, header.end(), (height, width, bands), kind, max_value)
    if pixels is None:
        raise decode_error(file)
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
) -> tuple[np.ndarray | None, int]:
    height, width, bands = shape
    if kind in _BITS:
        row = (width + 7) // 8
        end = start + height * row
        if end > len(content):
            return None, end
        packed = np.frombuffer(content, np.uint8, height * row, start).reshape(height, row)
        return np.unpackbits(packed, axis=1, count=width)[..., None], end
    dtype = np.dtype(">u2" if max_value > 255 else np.uint8)
    count = height * width * bands
    end = start + count * dtype.itemsize
    if end > len(content):
        return None, end
    pixels = np.frombuffer(content, dtype, count, start).reshape(shape)
    return pixels.astype(dtype.newbyteorder("=")), end


def _read_text(
    content: bytes, start: int, shape: Shape, kind: int, max_value: int
) -> tuple[np.ndarray | None, int]:
    count = int(np.prod(shape))
    if len(content) - start < count:  # each value has a digit: allocate nothing for missing ones
        return None, len(content)
    text = re.sub(rb"#[^\r\n]*", b" ", content[start:])
    if re.search(rb"[^\d\s]", text):
        return None, len(content)
    pixels = np.empty(count, np.uint8 if max_value < 256 else np.uint16)
    done = 0
    for block in _text_blocks(text):
        # Bits need no space between them.
        words = re.findall(rb"[01]" if kind in _BITS else rb"\d+", block)[: count - done]
        values = np.array(words, dtype="S8").astype(np.int64)
        if values.max(initial=0) > max_value:
            return None, len(content)
        pixels[done : done + len(values)] = values
        done += len(values)
    return (pixels.reshape(shape) if done == count else None), len(content)


def _text_blocks(text: bytes) -> Iterator[bytes]:
    """Yield blocks that end at a space, as each word of a block becomes a Python object."""
    start = 0
    while start < len(text):
        space = re.compile(rb"\s").search(text, start + _BLOCK_BYTES)
        end = space.end() if space else len(text)
        yield text[start:end]
        start = end
