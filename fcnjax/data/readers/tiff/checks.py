"""Checks of the header of a TIFF page: its role, and whether its pixels can be read."""

from typing import Any

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
GDAL_TAGS = (33922, 34264, 34735, 42112, 42113)
# Supported photometric interpretations, and the number of bands that each needs.
_PHOTOMETRICS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3}
JPEG = (6, 7, 34892, 33007)
# Supported compressions: none, CCITT, LZW, JPEG, deflate, PackBits, JPEG 2000, LERC, LZMA, ZSTD,
# WebP, PNG and JPEG XL. Decoders of others were not written for untrusted files.
_DECODED = (1, 2, 3, 4, 5, *JPEG, 8, 32946, 32773, 33003, 33004, 33005, 34712, 34887, 34925, 34926)
_DECODED += (50000, 34927, 50001, 34933, 50002, 52546)


def is_picture(page: Any) -> bool:
    """Return whether a page is neither a reduced copy of another nor a mask."""
    return not page.subfiletype & (_REDUCED | _MASK)


def is_mask_of(other: Any, page: Any) -> bool:
    """Return whether `other` is the mask of a page, by its kind and size."""
    return bool(
        other.subfiletype & _MASK
        and not other.subfiletype & _REDUCED
        and other.samplesperpixel == 1
        and (other.imagelength, other.imagewidth) == (page.imagelength, page.imagewidth)
    )


def is_planar_jpeg(page: Any) -> bool:
    """Return whether the bands are stored one after the other, each compressed as JPEG."""
    return page.compression in JPEG and page.planarconfig == 2


def unsupported_reason(page: Any) -> str | None:
    """Return why a page cannot be read, by its header, or None."""
    bits = page.bitspersample
    if not page.imagelength or not page.imagewidth or not page.samplesperpixel:
        return "cannot be read as an image: it has no pixels"
    if page.imagedepth > 1:
        return f"is a volume of {page.imagedepth} planes, not a picture"
    if not isinstance(bits, int):
        return f"has samples of {', '.join(map(str, bits))} bits; valid: one size for all"
    if page.dtype is None:
        return f"has samples of {bits} bits of an unknown format ({page.sampleformat})"
    if page.photometric not in _PHOTOMETRICS:
        name = getattr(page.photometric, "name", page.photometric)
        return (
            f"has colours of the kind {name}; valid: grey, RGB, palette, CMYK or YCbCr "
            "(PhotometricInterpretation)"
        )
    if page.photometric == 3 and page.samplesperpixel > 1:
        return "has a palette and further bands, which is not supported"
    if page.compression not in _DECODED:
        name = getattr(page.compression, "name", page.compression)
        return f"is compressed by {name}, which is not supported"
    if page.photometric == 6 and is_planar_jpeg(page):
        return "has planes of YCbCr, each compressed as JPEG, which is not supported"
    return None
