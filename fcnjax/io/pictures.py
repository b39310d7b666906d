"""RGB images of masks: pure functions of NumPy arrays."""

import base64
import colorsys
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

Palette = Sequence[Sequence[int]]

IGNORED = (128, 128, 128)
# Colours of Okabe and Ito (2008), which colour-blind people can distinguish, ordered so that the
# first few differ most. The first class, usually the background, is dark.
_FIRST = (
    (10, 10, 14),
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (0, 114, 178),
)
# The colours of `difference`, by their text in a legend.
BINARY_LEGEND = {
    "found": (236, 240, 244),
    "missed": (213, 94, 0),
    "false alarm": (86, 180, 233),
    "background": (10, 10, 14),
    "ignored": IGNORED,
}
MULTI_LEGEND = {"correct": (10, 10, 14), "wrong": (230, 70, 90), "ignored": IGNORED}


def default_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return a different RGB triple in 0..255 for each class."""
    colours = list(_FIRST[:num_classes])
    while len(colours) < num_classes:
        # Hues in steps of the golden ratio never repeat; the brightness alternates.
        index = len(colours)
        hue, value = index * 0.61803399 % 1, (0.95, 0.7, 0.5)[index % 3]
        colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.65, value))
        while colour in colours:
            colour = (colour[0], colour[1], (colour[2] + 1) % 256)
        colours.append(colour)
    return tuple(colours)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image as uint8 RGB `[H, W, 3]`: a single band as grey, otherwise three bands.

    Args:
        image: `[H, W]` or `[H, W, C]`. Types other than uint8 are scaled to their range of values.
    """
    image = np.atleast_3d(image)
    image = np.repeat(image[..., :1], 3, -1) if image.shape[-1] < 3 else image[..., :3]
    if image.dtype == np.uint8:
        return image
    image = np.nan_to_num(image.astype(np.float64))
    low, high = image.min(), image.max()
    return np.rint(255 * (image - low) / (high - low if high > low else 1)).astype(np.uint8)


def colorize(mask: np.ndarray, palette: Palette) -> np.ndarray:
    """Return a mask as an RGB image, with other values than classes (the ignore label) in grey.

    Args:
        mask: Integer `[H, W]`.
        palette: An RGB triple in 0..255 for each class.

    Returns:
        Uint8 `[H, W, 3]`.
    """
    table = np.asarray([*palette, IGNORED], np.uint8)
    mask = np.asarray(mask).astype(np.int64)
    return table[np.where((mask >= 0) & (mask < len(palette)), mask, len(palette))]


def overlay(
    image: np.ndarray, mask: np.ndarray, palette: Palette, alpha: float = 0.5
) -> np.ndarray:
    """Blend a mask over an image; class 0, the background, and other values are transparent.

    Args:
        image: Uint8 `[H, W, C]`.
        mask: Integer `[H, W]`.
        palette: An RGB triple in 0..255 for each class.
        alpha: Opacity of the mask, in 0..1.

    Returns:
        Uint8 `[H, W, 3]`.
    """
    base = to_rgb(image)
    mask = np.asarray(mask).astype(np.int64)
    opaque = ((mask > 0) & (mask < len(palette)))[..., None]
    mixed = np.rint((1 - alpha) * base + alpha * colorize(mask, palette)).astype(np.uint8)
    return np.where(opaque, mixed, base)


def difference(
    label: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Return an RGB image of the correct and wrong pixels, in the colours of `difference_legend`.

    Args:
        label: Integer `[H, W]`.
        prediction: Integer `[H, W]`.
        num_classes: With 2, missed pixels of class 1 and false alarms are distinguished.
        ignore_label: The label of ignored pixels; labels that are not a class are ignored as well.

    Returns:
        Uint8 `[H, W, 3]`.
    """
    label = np.asarray(label).astype(np.int64)
    prediction = np.asarray(prediction).astype(np.int64)
    colours = {name: np.asarray(rgb, np.uint8) for name, rgb in difference_legend(num_classes)}
    if num_classes == 2:
        positive, predicted = label == 1, prediction == 1
        image = np.where(positive[..., None], colours["missed"], colours["background"])
        image[~positive & predicted] = colours["false alarm"]
        image[positive & predicted] = colours["found"]
    else:
        correct = (label == prediction)[..., None]
        image = np.where(correct, colours["correct"], colours["wrong"])
    image[(label == ignore_label) | (label < 0) | (label >= num_classes)] = colours["ignored"]
    return image


def difference_legend(num_classes: int) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the names and RGB colours of `difference`."""
    return list((BINARY_LEGEND if num_classes == 2 else MULTI_LEGEND).items())


def data_uri(image: Image.Image, encoding: str, **options: Any) -> str:
    """Return an image as a data URI for an HTML page.

    Args:
        image: The image.
        encoding: `JPEG` or `PNG`.
        **options: Options of Pillow's encoder, such as `quality`.
    """
    data = io.BytesIO()
    image.save(data, encoding, **options)
    text = base64.b64encode(data.getvalue()).decode()
    return f"data:image/{encoding.lower()};base64,{text}"
