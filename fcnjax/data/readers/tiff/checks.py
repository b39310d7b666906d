"""Refusals by the header of a TIFF page: what cannot be read right, and what is damaged."""

import io
from typing import Any

from PIL import Image

from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_GDAL_TAGS = (33922, 34264, 34735, 42112, 42113)
# Photometric interpretations that are read, and the bands that each needs.
_PHOTOMETRICS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3}
_JPEG = (6, 7, 34892, 33007)
# Left out for its decoder, which prints, and was not written for files of strangers: JPEG XR.
_NOT_DECODED = (22610, 34934)
# Compressions whose segments are image files of a size of their own, which Pillow knows.
_IMAGE_FILES = (*_JPEG, 33003, 33004, 33005, 34712, 34933, 50001, 34927)


def is_picture(page: Any) -> bool:
    """Return whether a page is neither a smaller copy of another nor its mask."""
    return not page.subfiletype & (_REDUCED | _MASK)


def is_mask_of(other: Any, page: Any) -> bool:
    """Return whether a page is the mask of another, by its kind and size."""
    return bool(
        other.subfiletype & _MASK
        and not other.subfiletype & _REDUCED
        and other.samplesperpixel == 1
        and (other.imagelength, other.imagewidth) == (page.imagelength, page.imagewidth)
    )


def is_jpeg_of_planes(page: Any) -> bool:
    """Return whether bands that follow each other are compressed as JPEG."""
    return page.compression in _JPEG and page.planarconfig == 2


def fault_of(page: Any) -> str | None:
    """The reason why a page cannot be read, by its header; None: it can."""
    import tifffile

    bits = page.bitspersample
    if not page.imagelength or not page.imagewidth or not page.samplesperpixel:
        return "cannot be read as an image: it has no pixels"
    if page.imagedepth > 1:
        return f"is a volume of {page.imagedepth} planes, not a picture"
    if not isinstance(bits, int):
        return f"has samples of {', '.join(map(str, bits))} bits; valid: one size for all"
    if page.dtype is None:
        return f"has samples of {bits} bits of a format ({page.sampleformat}) that is not known"
    if page.photometric not in _PHOTOMETRICS:
        name = getattr(page.photometric, "name", page.photometric)
        return (
            f"has colours of the kind {name}; valid: grey, RGB, palette, CMYK or YCbCr "
            "(PhotometricInterpretation)"
        )
    if page.photometric == 3 and page.samplesperpixel > 1:
        return "has a palette and further bands, which cannot be read"
    known = page.compression == 1 or page.compression in tifffile.TIFF.DECOMPRESSORS
    if not known or page.compression in _NOT_DECODED:
        name = getattr(page.compression, "name", page.compression)
        return f"is compressed by {name}, which cannot be decoded"
    if page.photometric == 6 and is_jpeg_of_planes(page):
        return "has planes of YCbCr, each compressed as JPEG, which cannot be read"
    return None


def refuse_segments(file: File, page: Any) -> None:
    """Raises UserError where the strips or tiles of a page are not all there, or are too large."""
    import math

    needed = math.prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    handle = page.parent.filehandle
    damaged = f"{file}: cannot be read as an image: it is damaged or cut off"
    if not len(offsets) == len(counts) == needed:
        raise UserError(f"{damaged}: has {len(offsets)} strips or tiles of {needed}")
    # GDAL leaves out those without data.
    may_lack = any(tag in page.tags for tag in _GDAL_TAGS)
    for offset, count in zip(offsets, counts, strict=True):
        if offset + count > handle.size or (not (offset and count) and not may_lack):
            raise UserError(damaged)
    if page.compression in _IMAGE_FILES:
        for offset, count in zip(offsets, counts, strict=True):
            handle.seek(offset)
            _refuse_larger(damaged, page, handle.read(count))


def _refuse_larger(damaged: str, page: Any, segment: bytes) -> None:
    """Raises UserError where a segment is an image of more pixels than its strip or tile has."""
    try:
        with Image.open(io.BytesIO(segment)) as image:
            width, height = image.size
    except Exception:
        return  # its decoder tells
    rows, columns = page.chunks[:2] if page.planarconfig == 1 else page.chunks[-2:]
    if width * height > 2 * max(rows * columns, 4096):
        raise UserError(f"{damaged}: a part of it claims to be {width}x{height} pixels")
