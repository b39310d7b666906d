"""Refusals by the header of a TIFF page: what cannot be read right, and what is damaged."""

from typing import Any

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_GDAL_TAGS = (33922, 34264, 34735, 42112, 42113)
# Photometric interpretations that are read, and the bands that each needs.
_PHOTOMETRICS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3}
_JPEG = (6, 7, 34892, 33007)
# Compressions that are decoded: none, CCITT, LZW, JPEG, deflate, PackBits, JPEG 2000, LERC, LZMA,
# ZSTD, WebP, PNG and JPEG XL. Decoders of others were not written for files of strangers.
_DECODED = (1, 2, 3, 4, 5, *_JPEG, 8, 32946, 32773, 33003, 33004, 33005, 34712, 34887, 34925, 34926)
_DECODED += (50000, 34927, 50001, 34933, 50002, 52546)


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
    if page.compression not in _DECODED:
        name = getattr(page.compression, "name", page.compression)
        return f"is compressed by {name}, which cannot be decoded"
    if page.photometric == 6 and is_jpeg_of_planes(page):
        return "has planes of YCbCr, each compressed as JPEG, which cannot be read"
    return None
