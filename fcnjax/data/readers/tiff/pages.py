"""The role of a TIFF page, the meaning of its bands, and whether its pixels can be read."""

import html
import re
from typing import Any

import numpy as np

from fcnjax.data.readers.stored_pixels import CMYK, COLOURS, RGB, valid_orientation

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
GDAL_TAGS = (33922, 34264, 34735, 42112, 42113)
# Supported photometric interpretations, and the number of bands that each needs.
_PHOTOMETRICS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3}
JPEG = (6, 7, 34892, 33007)
# Supported compressions: none, CCITT, LZW, JPEG, deflate, PackBits, JPEG 2000, LERC, LZMA, ZSTD,
# WebP, PNG and JPEG XL. Decoders of others were not written for untrusted files.
_DECODED = (1, 2, 3, 4, 5, *JPEG, 8, 32946, 32773, 33003, 33004, 33005, 34712, 34887, 34925, 34926)
_DECODED += (50000, 34927, 50001, 34933, 50002, 52546)
_ORIENTATION, _EXTRA_SAMPLES, _GDAL_METADATA, _GDAL_NODATA = 274, 338, 42112, 42113
_COLOURS = {
    0: ("gray",),
    1: ("gray",),
    2: COLOURS,
    3: ("palette",),
    4: ("undefined",),
    5: CMYK,
    6: COLOURS,  # converted
}
_WHITE_IS_ZERO = 0
_ITEM = re.compile(r"<Item\s+([^>]*)>([^<]*)</Item>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


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


def band_fields(page: Any) -> dict[str, Any]:
    """Return the fields of `StoredPixels` that the tags of a page give."""
    bits = page.bitspersample
    is_whole = page.dtype is not None and page.dtype.kind in "bu" and isinstance(bits, int)
    return {
        "colorinterp": _metadata(page, "colorinterp", _colorinterp(page)),
        "descriptions": _metadata(page, "description", [""] * page.samplesperpixel, exact=True),
        "palette": _palette(page) if page.photometric == 3 else None,
        # Samples of whole bytes have the largest value of their type.
        "max_value": 2**bits - 1 if is_whole and bits % 8 and bits < 64 else None,
        "white_is_zero": page.photometric == _WHITE_IS_ZERO,
        "orientation": valid_orientation(page.tags.valueof(_ORIENTATION, 1)),
        "nodata": _nodata(page),
    }


def _colorinterp(page: Any) -> list[str]:
    """Return the bands of the photometric interpretation, then those of ExtraSamples."""
    count, colours = page.samplesperpixel, _COLOURS.get(page.photometric, ("undefined",))
    if count < len(colours):
        return ["undefined"] * count
    extra = page.tags.valueof(_EXTRA_SAMPLES, ())
    extra = (extra,) if isinstance(extra, int) else tuple(extra)
    more = ["alpha" if kind in (1, 2) else "undefined" for kind in extra]
    roles = [*colours, *more][:count]
    return roles + ["undefined"] * (count - len(roles))


def _metadata(page: Any, role: str, default: list[str], exact: bool = False) -> tuple[str, ...]:
    """Return GDAL's metadata of each band, or the default of a band without."""
    values = list(default)
    text = page.tags.valueof(_GDAL_METADATA, "")
    for attributes, value in _ITEM.findall(text if isinstance(text, str) else ""):
        item = dict(_ATTRIBUTE.findall(attributes))
        sample = item.get("sample", "")
        if item.get("role") == role and sample.isdecimal() and int(sample) < len(values):
            value = html.unescape(value).strip()
            values[int(sample)] = value if exact else value.lower()
    return tuple(values)


def _palette(page: Any) -> list[RGB] | None:
    if page.colormap is None:
        return None
    colours = np.asarray(page.colormap, np.int64)
    # Some writers store 8-bit colours where the format has 16 bits.
    colours = colours if colours.max(initial=0) < 256 else colours >> 8
    return [tuple(colour) for colour in colours.T.tolist()]


def _nodata(page: Any) -> float | None:
    try:
        return float(str(page.tags.valueof(_GDAL_NODATA, "")).strip("\0 ").replace(",", "."))
    except ValueError:
        return None
