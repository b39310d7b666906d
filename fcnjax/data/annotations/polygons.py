"""Shapes of annotations as pixels: polygons by COCO's rule, rotated boxes, ellipses, pasted masks.

Coordinates are continuous pixels, x before y: the first pixel reaches from 0 to 1. What lies
outside the image is cut off.
"""

import math
from collections.abc import Sequence

import numpy as np

FINER = 5  # COCO follows a polygon's border on a grid that is finer by this
_AT_ONCE = 1 << 20  # points of a border that are computed together


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels inside a polygon, bit for bit as COCO's own tools draw it.

    The border is followed on a grid five times as fine. Down each column of pixels, a pixel whose
    centre lies below an odd number of crossings is inside.

    Args:
        points: `[N, 2]`, three or more.
        size: Height and width of the mask.

    Returns:
        Bool `[H, W]`.
    """
    height, width = size
    fine = np.trunc(FINER * np.asarray(points, np.float64) + 0.5).astype(np.int64)
    fine = np.concatenate([fine, fine[:1]])
    crossings = []
    lengths = np.abs(np.diff(fine, axis=0)).max(1) + 1
    before = None
    for edges in np.split(np.arange(len(lengths)), _blocks(lengths)):
        border = _border(fine[edges], fine[edges + 1], lengths[edges])
        if before is not None:
            border = np.concatenate([before, border])
        before = border[-1:]
        crossings.append(_crossings(border, height, width))
    return _between(np.concatenate(crossings), height * width).reshape(width, height).T


def _between(places: np.ndarray, length: int) -> np.ndarray:
    """Bool `[length]`, which changes from False to True, or back, at each of the places."""
    bounds = np.concatenate([[0], np.sort(places), [length]])
    return np.repeat(np.arange(len(bounds) - 1) % 2 == 1, np.diff(bounds))


def _blocks(lengths: np.ndarray) -> np.ndarray:
    """Indices that split edges into blocks of few points: a far point has a long edge."""
    return np.flatnonzero(np.diff(np.cumsum(lengths) // _AT_ONCE)) + 1


def _border(starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The points of the fine grid along edges, int64 `[N, 2]`, both ends of each among them."""
    steps = np.abs(ends - starts)
    along_x = steps[:, 0] >= steps[:, 1]
    # The edge is followed from its lower end, and turned round: it rounds alike either way.
    turned = np.where(along_x, starts[:, 0] > ends[:, 0], starts[:, 1] > ends[:, 1])
    low = np.where(turned[:, None], ends, starts)
    high = np.where(turned[:, None], starts, ends)
    long, short = np.where(along_x, 0, 1), np.where(along_x, 1, 0)
    rows = np.arange(len(low))
    slope = (high - low)[rows, short] / np.maximum(steps[rows, long], 1)
    edge = np.repeat(rows, lengths)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.where(turned[edge], lengths[edge] - 1 - place, place)
    points = np.empty((len(edge), 2), np.int64)
    points[np.arange(len(edge)), long[edge]] = place + low[edge, long[edge]]
    other = low[edge, short[edge]] + slope[edge] * place + 0.5
    points[np.arange(len(edge)), short[edge]] = np.trunc(other).astype(np.int64)
    return points


def _crossings(border: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels, by their number down the columns, above which the border crosses a centre line.

    A number that is the mask's length stands for a crossing below the last pixel.
    """
    (x0, y0), (x1, y1) = border[:-1].T, border[1:].T
    column = (np.where(x1 < x0, x1, x1 - 1) + 0.5) / FINER - 0.5
    crosses = (x0 != x1) & (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    row = (np.minimum(y0, y1)[crosses] + 0.5) / FINER - 0.5
    row = np.ceil(np.clip(row, 0, height))
    return (column[crosses] * height + row).astype(np.int64)


def box_corners(
    left: float, top: float, width: float, height: float, degrees: float = 0, about: str = "centre"
) -> np.ndarray:
    """The corners `[4, 2]` of a box.

    Args:
        left: Of the box before it is rotated.
        top: Of the box before it is rotated.
        width: Its width.
        height: Its height.
        degrees: By how much it is rotated, clockwise as seen.
        about: The point that stays: `centre`, or `corner`, the one at the left and top.
    """
    corners = np.asarray([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    pivot = np.asarray([width / 2, height / 2] if about == "centre" else [0.0, 0.0])
    return (corners - pivot) @ _rotation(degrees).T + pivot + [left, top]


def ellipse_mask(
    centre: Sequence[float], radii: Sequence[float], degrees: float, size: tuple[int, int]
) -> np.ndarray:
    """The pixels `[H, W]` bool whose centres lie in an ellipse.

    Args:
        centre: x and y.
        radii: Along x and y, before it is rotated.
        degrees: By how much it is rotated about its centre, clockwise as seen.
        size: Height and width of the mask.
    """
    mask = np.zeros(size, bool)
    if min(radii) <= 0:
        return mask
    reach = max(radii)
    # Only about the ellipse: an image is large.
    left, right = (_within(centre[0] + sign * reach, size[1]) for sign in (-1, 1))
    top, bottom = (_within(centre[1] + sign * reach, size[0]) for sign in (-1, 1))
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    offsets = np.stack([x - centre[0], y - centre[1]], -1) @ _rotation(degrees)
    mask[top:bottom, left:right] = ((offsets / radii) ** 2).sum(-1) <= 1
    return mask


def _within(value: float, length: int) -> int:
    return int(min(max(round(value), 0), length))


def _rotation(degrees: float) -> np.ndarray:
    turn = math.radians(degrees)
    return np.asarray([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def place_mask(mask: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """A mask `[h, w]` laid into one of `[H, W]` bool with its corner at `left`, `top`."""
    whole = np.zeros(size, bool)
    height, width = mask.shape
    first_row, first_column = max(top, 0), max(left, 0)
    end_row, end_column = min(top + height, size[0]), min(left + width, size[1])
    if first_row < end_row and first_column < end_column:
        whole[first_row:end_row, first_column:end_column] = mask[
            first_row - top : end_row - top, first_column - left : end_column - left
        ]
    return whole
