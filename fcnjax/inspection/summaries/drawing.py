"""Drawing of heat maps and text with Pillow."""

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
    steps = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(np.nan_to_num(values), steps, channel) for channel in _HEAT.T]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


class Canvas(ImageDraw.ImageDraw):
    """A page to draw on.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int):
        self.page = Image.new("RGB", (width, height), PAGE)
        super().__init__(self.page)

    def write(
        self, position: tuple[float, float], words: str, size: int = 15, colour: Colour = TEXT
    ) -> None:
        """Draw a line of text from its upper left corner."""
        self.text(position, words, colour, ImageFont.load_default(size))

    def picture(self, position: tuple[int, int], pixels: np.ndarray) -> None:
        """Paste uint8 `[H, W, 3]` with its upper left corner at a position."""
        self.page.paste(Image.fromarray(pixels), position)

    def save(self, path: str | Path) -> None:
        """Write the page atomically, in the format of the path's ending.

        Raises:
            UserError: It cannot be written.
        """
        with atomic(path) as temporary:
            self.page.save(temporary)


def text_width(words: str, size: int) -> int:
    """Return the width of a line of text, in pixels."""
    return int(ImageFont.load_default(size).getlength(words)) + 1


def resized(pixels: np.ndarray, height: int, width: int, smooth: bool = False) -> np.ndarray:
    """Resize a picture, uint8 `[H, W, 3]` or float32 `[H, W]`."""
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((width, height), method))
