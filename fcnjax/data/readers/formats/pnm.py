"""Reads PBM, PGM and PPM files (Netpbm), as text or binary, of up to 16 bits a sample."""

import re
from collections.abc import Iterator

import numpy as np

from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.limits import refuse_large
from fcnjax.data.readers.stored import COLOURS, StoredPixels
from fcnjax.errors import UserError

MAGIC = tuple(b"P%d" % kind for kind in range(1, 7))
_SPACE = rb"(?:[ \t\n\v\f\r]|#[^\r\n]*[\r\n])+"
_PART = 2**20  # bytes
_BITS, _COLOUR, _BINARY = (1, 4), (3, 6), (4, 5, 6)


def read_pnm(file: File, content: bytes) -> StoredPixels:
    """Reads the first picture of a file; bits are 1 for black.

    Raises:
        UserError: It is damaged, too large, or holds several pictures; names the file.
    """
    kind = int(content[1:2])
    fields = 2 if kind in _BITS else 3
    header = re.match(rb"P\d" + (_SPACE + rb"(\d{1,9})") * fields + rb"[ \t\n\v\f\r]", content)
    if header is None and kind not in _BINARY:
        header = re.match(rb"P\d" + (_SPACE + rb"(\d{1,9})") * fields + _SPACE, content)
    if header is None:
        raise UserError(f"{file}: cannot be read as an image: its header is damaged")
    width, height, *rest = map(int, header.groups())
    full = rest[0] if rest else 1
    bands = 3 if kind in _COLOUR else 1
    if not (width and height and 0 < full < 65536):
        raise UserError(f"{file}: cannot be read as an image: its header is damaged")
    refuse_large(file, height, width, 2 * bands, file_bytes=len(content))
    shape = (height, width, bands)
    if kind in _BINARY:
        pixels, end = _from_bytes(content, header.end(), shape, kind, full)
    else:
        pixels, end = _from_text(content, header.end(), shape, kind, full)
    if pixels is None:
        raise UserError(f"{file}: cannot be read as an image: it is damaged or cut off")
    if pixels.max() > full:
        raise UserError(f"{file}: has pixels of {pixels.max()}, and its greatest value is {full}")
    if kind in _BINARY and re.match(rb"\s*P[1-6]\s", content[end : end + 64]):
        raise UserError(f"{file}: holds several pictures, of which none can be chosen")
    return StoredPixels(
        pixels=pixels,
        format="PNM",
        marks=COLOURS if bands == 3 else ("gray",),
        full=None if full in (255, 65535) else full,
        white_is_zero=kind in _BITS,
    )


def _from_bytes(
    content: bytes, start: int, shape: tuple[int, int, int], kind: int, full: int
) -> tuple[np.ndarray | None, int]:
    height, width, bands = shape
    if kind in _BITS:
        row = (width + 7) // 8
        end = start + height * row
        if end > len(content):
            return None, end
        packed = np.frombuffer(content, np.uint8, height * row, start).reshape(height, row)
        return np.unpackbits(packed, axis=1, count=width)[..., None], end
    dtype = np.dtype(">u2" if full > 255 else np.uint8)
    count = height * width * bands
    end = start + count * dtype.itemsize
    if end > len(content):
        return None, end
    pixels = np.frombuffer(content, dtype, count, start).reshape(shape)
    return pixels.astype(dtype.newbyteorder("=")), end


def _from_text(
    content: bytes, start: int, shape: tuple[int, int, int], kind: int, full: int
) -> tuple[np.ndarray | None, int]:
    count = int(np.prod(shape))
    if len(content) - start < count:  # a digit for each, and no memory for what is not there
        return None, len(content)
    text = re.sub(rb"#[^\r\n]*", b" ", content[start:])
    if re.search(rb"[^\d\s]", text):
        return None, len(content)
    pixels = np.empty(count, np.uint8 if full < 256 else np.uint16)
    done = 0
    for part in _parts(text):
        # Bits need no space between them.
        words = re.findall(rb"[01]" if kind in _BITS else rb"\d+", part)[: count - done]
        values = np.array(words, dtype="S8").astype(np.int64)
        if values.max(initial=0) > full:
            return None, len(content)
        pixels[done : done + len(values)] = values
        done += len(values)
    return (pixels.reshape(shape) if done == count else None), len(content)


def _parts(text: bytes) -> Iterator[bytes]:
    """Parts of a text that end at a space: each word becomes an object of Python."""
    start = 0
    while start < len(text):
        space = re.compile(rb"\s").search(text, start + _PART)
        end = space.end() if space else len(text)
        yield text[start:end]
        start = end
