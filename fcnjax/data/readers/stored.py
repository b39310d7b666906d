"""The pixels of an image file as they are stored, before anything is made of them.

A picture and a mask need different things of the same file: a picture its colours and
intensities, a mask the numbers as they stand.
"""

from dataclasses import dataclass

import numpy as np

RGB = tuple[int, int, int]
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class StoredPixels:
    """The pixels of an image file, as stored.

    Attributes:
        pixels: `[H, W, C]` of any numeric type (bits as uint8), the file's own values: palette
            indices (C is 1), samples of few bits not scaled, white-is-zero not inverted. Colours
            that are stored as YCbCr are RGB.
        format: PNG, JPEG, MPO, BMP, PNM, TIFF, or another name of Pillow's.
        marks: The meaning of each band: red, green, blue, gray, palette, alpha, cyan, magenta,
            yellow, black or undefined.
        descriptions: The name of each band, "" for none.
        palette: RGB by index in 0..255; None where the pixels are no indices.
        full: The value of the greatest intensity, 1 for bits; None: of the type, or not bounded.
        white_is_zero: Whether 0 is the greatest intensity.
        orientation: By EXIF, 1 to 8; the pixels are not turned.
        nodata: The value for no data (of GDAL), or None.
        valid: `[H, W]` bool, where the file's own mask says that there is data; None: everywhere.
    """

    pixels: np.ndarray
    format: str
    marks: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    palette: list[RGB] | None = None
    full: int | None = None
    white_is_zero: bool = False
    orientation: int = 1
    nodata: float | None = None
    valid: np.ndarray | None = None

    @property
    def ids(self) -> np.ndarray:
        """The pixels as a mask means them.

        They are as stored, never scaled and never inverted, but for a picture of bits: there white
        is 1 and black is 0, whichever of them the file stores as 1.
        """
        return 1 - self.pixels if self.white_is_zero and self.full == 1 else self.pixels


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        format: As `StoredPixels` has it.
        height: Rows as stored.
        width: Columns as stored.
        orientation: By EXIF, 1 to 8.
        pages: How many pictures the file holds.
        tags: The codes of the tags of a TIFF.
    """

    format: str
    height: int
    width: int
    orientation: int
    pages: int
    tags: frozenset[int] = frozenset()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as the picture is seen."""
        if self.orientation >= 5:
            return self.width, self.height
        return self.height, self.width
