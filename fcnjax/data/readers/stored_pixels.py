"""The pixels and the header of an image file, as stored, and its EXIF orientation.

An image and a mask need different things from a file: an image its colours and intensities, a mask
the numbers unchanged. An orientation is a number from 1 to 8 that says how a stored image has to be
turned.
"""

from dataclasses import dataclass

import numpy as np

Size = tuple[int, int]  # height and width
UPRIGHT = 1
RGB = tuple[int, int, int]
COLOURS = ("red", "green", "blue")
CMYK = ("cyan", "magenta", "yellow", "black")


def valid_orientation(value: object) -> int:
    """Return an orientation from a file's tag; `UPRIGHT` if the tag has an invalid value."""
    return value if value in range(1, 9) else UPRIGHT


def is_quarter_turn(orientation: int) -> bool:
    """Return whether undoing an orientation swaps height and width."""
    return orientation >= 5


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the orientation of an image `[H, W, ...]`; returns a view."""
    if is_quarter_turn(orientation):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


@dataclass(frozen=True)
class StoredPixels:
    """The pixels of an image file, as stored.

    Attributes:
        pixels: `[H, W, C]` of any numeric type (bits as uint8): palette indices (C is 1), samples
            of few bits not scaled, white-is-zero not inverted. YCbCr is converted to RGB.
        format: PNG, JPEG, MPO, BMP, PNM, TIFF, or another format name of Pillow.
        colorinterp: The meaning of each band: red, green, blue, gray, palette, alpha, cyan,
            magenta, yellow, black or undefined.
        descriptions: The name of each band, "" for none.
        palette: RGB by index in 0..255; None if the pixels are not indices.
        max_value: The largest intensity, 1 for bits; None: that of the type, or unbounded.
        white_is_zero: Whether 0 is the largest intensity.
        orientation: EXIF orientation, 1 to 8; the pixels are not turned.
        nodata: GDAL's nodata value, or None.
        valid: `[H, W]` bool, true where the file's own mask has data; None: everywhere.
    """

    pixels: np.ndarray
    format: str
    colorinterp: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    palette: list[RGB] | None = None
    max_value: int | None = None
    white_is_zero: bool = False
    orientation: int = 1
    nodata: float | None = None
    valid: np.ndarray | None = None

    @property
    def ids(self) -> np.ndarray:
        """The values of a mask: as stored, except that white is 1 in every image of bits."""
        return 1 - self.pixels if self.white_is_zero and self.max_value == 1 else self.pixels


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        format: As in `StoredPixels`.
        height: Rows as stored.
        width: Columns as stored.
        orientation: EXIF orientation, 1 to 8.
        pages: Number of pages in the file.
        tags: Codes of the tags of a TIFF.
    """

    format: str
    height: int
    width: int
    orientation: int
    pages: int
    tags: frozenset[int] = frozenset()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        if is_quarter_turn(self.orientation):
            return self.width, self.height
        return self.height, self.width
