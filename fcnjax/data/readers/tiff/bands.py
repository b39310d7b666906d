"""The meaning of the bands of a TIFF page, by its tags and GDAL's metadata."""

import html
import re
from typing import Any

import numpy as np

from fcnjax.data.readers.stored import COLOURS, RGB

_ORIENTATION, _EXTRA_SAMPLES, _GDAL_METADATA, _GDAL_NODATA = 274, 338, 42112, 42113
_COLOURS = {
    0: ("gray",),
    1: ("gray",),
    2: COLOURS,
    3: ("palette",),
    4: ("undefined",),
    5: ("cyan", "magenta", "yellow", "black"),
    6: COLOURS,  # converted
}
_WHITE_IS_ZERO = 0
_ITEM = re.compile(r"<Item\s+([^>]*)>([^<]*)</Item>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def bands_of(page: Any) -> dict[str, Any]:
    """The fields of `StoredPixels` that the tags of a page give."""
    orientation = page.tags.valueof(_ORIENTATION, 1)
    bits = page.bitspersample
    is_whole = page.dtype is not None and page.dtype.kind in "bu" and isinstance(bits, int)
    return {
        "marks": _metadata(page, "colorinterp", _marks(page)),
        "descriptions": _metadata(page, "description", [""] * page.samplesperpixel, exact=True),
        "palette": _palette(page) if page.photometric == 3 else None,
        # Of the samples; those of whole bytes have the greatest value of their type.
        "full": 2**bits - 1 if is_whole and bits % 8 and bits < 64 else None,
        "white_is_zero": page.photometric == _WHITE_IS_ZERO,
        "orientation": orientation if orientation in range(1, 9) else 1,
        "nodata": _nodata(page),
    }


def _marks(page: Any) -> list[str]:
    """By the photometric interpretation, and ExtraSamples for the bands beyond its own."""
    count, colours = page.samplesperpixel, _COLOURS.get(page.photometric, ("undefined",))
    if count < len(colours):
        return ["undefined"] * count
    extra = page.tags.valueof(_EXTRA_SAMPLES, ())
    extra = (extra,) if isinstance(extra, int) else tuple(extra)
    more = ["alpha" if kind in (1, 2) else "undefined" for kind in extra]
    marks = [*colours, *more][:count]
    return marks + ["undefined"] * (count - len(marks))


def _metadata(page: Any, role: str, default: list[str], exact: bool = False) -> tuple[str, ...]:
    """GDAL's metadata of each band, where there are some."""
    found = list(default)
    text = page.tags.valueof(_GDAL_METADATA, "")
    for attributes, value in _ITEM.findall(text if isinstance(text, str) else ""):
        known = dict(_ATTRIBUTE.findall(attributes))
        sample = known.get("sample", "")
        if known.get("role") == role and sample.isdecimal() and int(sample) < len(found):
            value = html.unescape(value).strip()
            found[int(sample)] = value if exact else value.lower()
    return tuple(found)


def _palette(page: Any) -> list[RGB] | None:
    if page.colormap is None:
        return None
    colours = np.asarray(page.colormap, np.int64)
    # Some writers give bytes where the format has 16 bits.
    colours = colours if colours.max(initial=0) < 256 else colours >> 8
    return [tuple(colour) for colour in colours.T.tolist()]


def _nodata(page: Any) -> float | None:
    try:
        return float(str(page.tags.valueof(_GDAL_NODATA, "")).strip("\0 ").replace(",", "."))
    except ValueError:
        return None
