"""RGB images of masks: pure functions of NumPy arrays."""

import base64
import colorsys
import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fcnjax.io.shrink import shrink, shrink_mask

Palette = Sequence[Sequence[int]]

OPACITY = 0.5  # of the classes in an overlay
CONTOUR_SIDE = 500  # pixels of an image's longer side for each pixel of a contour's width
# Names, in lower case, of a class for what is none of the others.
BACKGROUND_NAMES = frozenset({"background", "bg", "none", "unlabeled", "unlabelled", "void"})
CLEAR = " (clear in the overlay)"  # follows their names in a legend
MAX_BLACK = 15  # a colour is nearly black if no channel exceeds this
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
# Names of hues, each with the degrees at which it ends.
HUES = (
    (15, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "cyan"),
    (255, "blue"),
    (285, "purple"),
    (345, "magenta"),
    (361, "red"),
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
    colours = dict.fromkeys(_FIRST[:num_classes])
    while len(colours) < num_classes:
        # Hues in steps of the golden ratio never repeat; the brightness alternates.
        index = len(colours)
        hue, value = index * 0.61803399 % 1, (0.95, 0.7, 0.5)[index % 3]
        # One saturation has a few thousand colours.
        saturation = 0.65 if index < 2048 else 0.3 + 0.6 * (index * 0.7548777 % 1)
        colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
        while colour in colours:
            colour = (colour[0], colour[1], (colour[2] + 1) % 256)
        colours[colour] = None
    return tuple(colours)


def describe_colour(colour: Sequence[int]) -> str:
    """Return the name of an RGB colour in 0..255, such as `red` or `dark green`."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    if lightness < 0.08:
        return "black"
    if lightness > 0.95:
        return "white"
    name = "grey"
    if saturation > 0.15:
        name = next(name for limit, name in HUES if 360 * hue < limit)
    if lightness < 0.35:
        return "brown" if name == "orange" else f"dark {name}"
    return f"light {name}" if lightness > 0.7 else name


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


def background_class(names: Sequence[str], palette: Palette) -> int | None:
    """Return the class that overlays leave clear; None if they paint every class.

    It is the class named background, or another of `BACKGROUND_NAMES`. Without such a name it is
    the first of two classes, or a class 0 that is nearly black, as in the default palette.
    """
    for label, name in enumerate(names):
        if name.casefold() in BACKGROUND_NAMES:
            return label
    return 0 if len(names) == 2 or max(palette[0]) <= MAX_BLACK else None


def legend(names: Sequence[str], palette: Palette) -> list[tuple[str, Sequence[int]]]:
    """Return the text and colour of each class, and of ignored pixels, in labels and overlays."""
    background = background_class(names, palette)
    texts = [f"{name}{CLEAR if i == background else ''}" for i, name in enumerate(names)]
    return [*zip(texts, palette, strict=True), (f"ignored{CLEAR}", IGNORED)]


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    names: Sequence[str],
    palette: Palette,
    alpha: float = OPACITY,
) -> np.ndarray:
    """Draw a mask over an image: a fill for each class, and an opaque contour inside its regions.

    The background (`background_class`) and values that are not a class stay clear.

    Args:
        image: Uint8 `[H, W, C]`.
        mask: Integer `[H, W]`.
        names: Class names.
        palette: An RGB triple in 0..255 for each class.
        alpha: Opacity of the fill, in 0..1.

    Returns:
        Uint8 `[H, W, 3]`.
    """
    base = to_rgb(image)
    mask = np.asarray(mask).astype(np.int64)
    is_painted = (mask >= 0) & (mask < len(palette)) & (mask != background_class(names, palette))
    colours = colorize(mask, palette)
    picture = np.where(
        is_painted[..., None], cv2.addWeighted(base, 1 - alpha, colours, alpha, 0), base
    )
    contour = is_painted & _find_contours(mask)
    picture[contour] = colours[contour]
    return picture


def _find_contours(mask: np.ndarray) -> np.ndarray:
    """Return the pixels near another value in their row or column, bool `[H, W]`."""
    width = max(round(max(mask.shape) / CONTOUR_SIDE), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (2 * width + 1, 2 * width + 1))
    values = mask.astype(np.float32)  # holds class ids exactly, and is a type of `cv2.erode`
    return cv2.erode(values, kernel) != cv2.dilate(values, kernel)


def fit(image: np.ndarray, label: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale an RGB image and its label to a longer side of at most `side` pixels.

    Small ones are enlarged by a whole factor, so that each pixel becomes a square. A label is
    always scaled by nearest neighbour.

    Args:
        image: Uint8 `[H, W, 3]`.
        label: Integer `[H, W]`.
        side: The longer side.
    """
    factor = side // max(label.shape)
    if factor:
        return tuple(array.repeat(factor, 0).repeat(factor, 1) for array in (image, label))
    return shrink(image, side), shrink_mask(label, side)


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
