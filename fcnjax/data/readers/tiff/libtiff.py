"""Decoding of TIFF pages by libtiff in OpenCV: faster than tifffile, or the only decoder."""

from typing import Any

import cv2
import numpy as np

from fcnjax.data.readers.tiff.checks import JPEG

_LZW = 5
_GREY, _RGB, _YCBCR = 1, 2, 6
_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def decode_by_libtiff(page: Any, content: bytes) -> np.ndarray | None:
    """Decode the first page of a file, if libtiff suits it.

    Args:
        page: The page, of tifffile.
        content: The file.

    Returns:
        `[H, W, C]` uint8, not upright; None if libtiff does not suit it or the page is damaged.
    """
    if not (_is_plain(page) and (_is_faster(page) or _is_only_decoder(page))):
        return None
    grey = page.samplesperpixel == 1
    flags = _FLAGS | (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (page.imagelength, page.imagewidth):
        return None
    return pixels[..., None] if grey else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)


def _is_plain(page: Any) -> bool:
    """Return whether OpenCV decodes a page without changing its values."""
    photometric = {1: (_GREY,), 3: (_RGB, _YCBCR)}.get(page.samplesperpixel, ())
    return (
        page.photometric in photometric
        and page.bitspersample == 8
        and page.dtype == np.uint8
        and page.planarconfig == 1
        and page.fillorder == 1
        and page.tags.valueof(274, 1) == 1
    )


def _is_faster(page: Any) -> bool:
    sides = (page.tilelength, page.tilewidth) if page.is_tiled else (16, 16)
    aligned = not any(side % 16 for side in sides)
    return page.compression == _LZW and page.photometric != _YCBCR and aligned


def _is_only_decoder(page: Any) -> bool:
    return page.photometric == _YCBCR and page.compression not in JPEG
