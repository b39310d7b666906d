"""EXIF orientation: a number from 1 to 8 that says how a stored image has to be turned."""

import numpy as np

Size = tuple[int, int]  # height and width
UPRIGHT = 1


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
