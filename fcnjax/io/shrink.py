"""Reduction of pictures and masks to the size at which a page shows them."""

import numpy as np
from PIL import Image


def shrink(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """Return a uint8 RGB picture `[H, W, 3]`, averaged down to a longest side of so many pixels.

    Smaller pictures are returned as they are.
    """
    height, width = _fit(picture.shape[:2], longest_side)
    if (height, width) == picture.shape[:2]:
        return picture
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)


def shrink_mask(mask: np.ndarray, longest_side: int) -> np.ndarray:
    """Return a mask or a picture of classes `[H, W, ...]`, reduced as `shrink` does, by nearest.

    A blend of two classes, or of their colours, would be another class, or none.
    """
    if (size := _fit(mask.shape[:2], longest_side)) == mask.shape[:2]:
        return mask
    rows, columns = (
        (np.arange(new) + 0.5) * old // new for new, old in zip(size, mask.shape, strict=False)
    )
    return mask[rows.astype(int)[:, None], columns.astype(int)]


def _fit(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """Return height and width with a longest side of at most `longest_side` pixels."""
    scale = longest_side / max(size)
    return size if scale >= 1 else tuple(max(1, round(side * scale)) for side in size)
