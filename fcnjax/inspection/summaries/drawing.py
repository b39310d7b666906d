"""Drawing of heat maps and text with Pillow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcnjax.io.atomic_files import atomic

Colour = tuple[int, int, int]
PAGE, TEXT, SOFT = (255, 255, 255), (27, 31, 39), (102, 112, 133)
# From dark to light in steps that look even, to colour-blind eyes as well.
_HEAT = np.asarray(
    [(0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21),
     (250, 193, 39), (252, 255, 164)],
    np.float64,
)  # fmt: skip


def heat(values: np.ndarray) -> np.ndarray:
    """Return colours for values in 0..1, uint8 `[..., 3]`."""
    position = np.clip(np.nan_to_num(values), 0, 1) * (len(_HEAT) - 1)
    low = np.minimum(position.astype(int), len(_HEAT) - 2)
    part = (position - low)[..., None]
    return np.rint(_HEAT[low] * (1 - part) + _HEAT[low + 1] * part).astype(np.uint8)


class Canvas:
    """A page to draw on.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int):
        self._image = Image.new("RGB", (width, height), PAGE)
        self._draw = ImageDraw.Draw(self._image)

    def text(
        self, position: tuple[float, float], words: str, size: int = 15, colour: Colour = TEXT
    ) -> None:
        """Draw a line of text from its upper left corner."""
        self._draw.text(position, words, colour, ImageFont.load_default(size))

    def picture(self, position: tuple[int, int], pixels: np.ndarray) -> None:
        """Paste uint8 `[H, W, 3]` with its upper left corner at a position."""
        self._image.paste(Image.fromarray(pixels), position)

    def rectangle(self, corners: Sequence[float], colour: Colour, width: int = 3) -> None:
        """Outline a rectangle: left, top, right, bottom."""
        self._draw.rectangle(tuple(corners), outline=colour, width=width)

    def circle(self, corners: Sequence[float], colour: Colour, width: int = 3) -> None:
        """Outline the ellipse within left, top, right, bottom."""
        self._draw.ellipse(tuple(corners), outline=colour, width=width)

    def line(self, ends: Sequence[float], colour: Colour, width: int = 3) -> None:
        """Draw a line from x, y to x, y."""
        self._draw.line(tuple(ends), colour, width)

    def save(self, path: str | Path) -> None:
        """Write the page atomically, in the format of the path's ending.

        Raises:
            UserError: It cannot be written.
        """
        with atomic(path) as temporary:
            self._image.save(temporary)


def text_width(words: str, size: int) -> int:
    """Return the width of a line of text, in pixels."""
    return int(ImageFont.load_default(size).getlength(words)) + 1


def resized(pixels: np.ndarray, height: int, width: int, smooth: bool = False) -> np.ndarray:
    """Resize a picture, uint8 `[H, W, 3]` or float32 `[H, W]`."""
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((width, height), method))
