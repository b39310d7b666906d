"""Traces that interpolation and JPEG compression leave in a mask."""

from collections import Counter

import cv2
import numpy as np

# Shares and counts that tell blended values from classes.
LINE = 3  # of 3x3 pixels: a pixel and two neighbours, a line of one pixel's width
MIN_RAMP_PIXELS = 60  # border pixels between distant ids, for a decision
NO_RAMP = 0.05  # share of the border pixels with an id between, up to which a mask has no ramps
ONE_CLASS = 0.8  # share of the ids between: a class that has as many is one of borders
MAX_RAMP_ID = 64  # above it, a ramp is one of grey levels
MIN_VALUES = 8  # distinct values of a mask that may be blended
PEAK = 0.01  # share of the pixels: a more frequent value is no blend
JPEG_RANGE = 8  # grey levels around a value, within which JPEG of high quality moves it
# Share of the rare pixels that look blended. A pixel classifier that is unsure gives fewer.
MIN_BLENDED = 0.6
MAX_RARE_PIXELS = 50_000  # of a mask that are examined


def is_blended(values: np.ndarray, counts: Counter) -> bool:
    """Return whether a mask has many rare values, in pixels that stand alone and look mixed.

    Classes and objects are regions, however small. Interpolation and JPEG leave a few pixels of
    ever different values along borders.

    Args:
        values: The mask; colours as one number of three bytes.
        counts: Its pixels by value.
    """
    strays = _find_strays(counts)
    rare = strays or [value for value, count in counts.items() if count < PEAK * values.size]
    is_plain = not strays and (len(counts) < MIN_VALUES or len(rare) < MIN_VALUES / 2)
    if is_plain or min(values.shape) < 3:
        return False
    ys, xs = np.nonzero(np.isin(values[1:-1, 1:-1], rare))
    step = len(ys) // MAX_RARE_PIXELS + 1
    ys, xs = ys[::step], xs[::step]
    windows = np.stack([values[ys + i // 3, xs + i % 3] for i in range(9)], -1)
    num_equal = (windows == windows[:, 4:5]).sum(-1)
    # Strokes and noise stand alone too, but on a background of one value.
    is_mixed = bool(strays) or _are_mixed(windows, num_equal)
    return bool(len(ys)) and float(((num_equal <= LINE) & is_mixed).mean()) > MIN_BLENDED


def _find_strays(counts: Counter) -> list[int]:
    """Return values near few others that are far apart, such as 1 and 254 near 0 and 255.

    JPEG of high quality leaves such values, too few of them to be recognised by their number.
    """
    peaks: list[int] = []
    for value, _ in counts.most_common():
        if all(abs(value - peak) > JPEG_RANGE for peak in peaks):
            peaks.append(value)
            if len(peaks) > MIN_VALUES:
                return []
    strays = [value for value in counts if value not in peaks]
    are_apart = len(peaks) > 1 and min(np.diff(sorted(peaks))) > 2 * JPEG_RANGE
    near = [sum(counts[v] for v in strays if abs(v - peak) <= JPEG_RANGE) for peak in peaks]
    are_few = all(0 < count < counts[peak] for count, peak in zip(near, peaks, strict=True))
    return strays if are_apart and are_few else []


def _are_mixed(windows: np.ndarray, num_equal: np.ndarray) -> np.ndarray:
    """Return whether a pixel lies between two opposite ones, or among many of other values.

    Args:
        windows: The 3x3 pixels around each pixel, row by row, `[N, 9]`.
        num_equal: How many of them have its value, `[N]`.
    """
    # By byte, which is by channel where the values are colours.
    parts = (windows[..., None].astype(np.int32) >> np.asarray([16, 8, 0])) & 255
    middle, first, last = parts[:, 4:5], parts[:, :4], parts[:, :4:-1]
    rising, falling = (first < middle) & (middle < last), (last < middle) & (middle < first)
    num_values = (np.diff(np.sort(windows, -1)) != 0).sum(-1) + 1
    return (rising | falling).any((1, 2)) | ((num_equal < LINE) & (num_values > LINE))


def _count_equal(values: np.ndarray) -> np.ndarray:
    """Count the 3x3 pixels around each pixel, itself included, that equal it; `[H-2, W-2]`."""
    inner, (height, width) = values[1:-1, 1:-1], values.shape
    shifts = ((dy, dx) for dy in range(3) for dx in range(3))
    neighbours = (values[y : height - 2 + y, x : width - 2 + x] for y, x in shifts)
    return sum((each == inner).astype(np.uint8) for each in neighbours)


def ramp_share(values: np.ndarray) -> float | None:
    """Return the share of borders between distant ids that have lines of the ids between.

    Interpolation makes 1, 2 and 3 of 0 beside 4. (Of 0 beside 2 it makes a 1, which looks like a
    thin layer between them.)

    Returns:
        None if such borders are few, or lined by one class.
    """
    if values.dtype != np.uint8 or min(values.shape) < 3:
        return None
    low, high = (f(values, np.ones((3, 3), np.uint8))[1:-1, 1:-1] for f in (cv2.erode, cv2.dilate))
    is_wide = (high - low >= 3) & (high < MAX_RAMP_ID)
    if is_wide.sum() < MIN_RAMP_PIXELS:
        return None
    inner = values[1:-1, 1:-1]
    is_between = is_wide & (inner > low) & (inner < high) & (_count_equal(values) <= LINE)
    share = float(is_between.sum() / is_wide.sum())
    most = np.bincount(inner[is_between], minlength=1).max()
    return None if share > NO_RAMP and most > ONE_CLASS * is_between.sum() else share
