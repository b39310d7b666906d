"""The meaning of the bands of a TIFF page, from its tags and GDAL's metadata."""

import html
import re
from typing import Any

import numpy as np

from fcnjax.data.readers.exif import valid_orientation
from fcnjax.data.readers.stored_pixels import CMYK, COLOURS, RGB

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
