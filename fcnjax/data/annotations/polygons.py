"""Rasterization of shapes: polygons by COCO's rule, rotated boxes and ellipses.

Coordinates are continuous pixels, x before y: the first pixel spans 0 to 1. Shapes are clipped to
the image.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from fcnjax.data.annotations.drawing_budget import max_steps
from fcnjax.data.annotations.runs import Runs, from_changes, union

FINER = 5  # COCO follows a polygon's border on a grid that is finer by this factor
_MIN_RADIUS = 1e-6  # pixels
_TOLERANCE = 1e-9  # a pixel whose centre lies on the border of an ellipse is inside
_BLOCK_POINTS = 1 << 20  # points of a border that are computed together


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> Runs:
    """Return the pixels inside a polygon, exactly those that COCO's own tools draw.

    The border is followed on a grid five times as fine. Down each column, a pixel whose centre
    lies below an odd number of crossings is inside.

    Args:
        points: `[N, 2]`, three or more.
        size: Height and width of the image.

    Raises:
        ValueError: The border is too long.
    """
    height, width = size
    fine = np.trunc(FINER * np.asarray(points, np.float64) + 0.5).astype(np.int64)
    fine = np.concatenate([fine, fine[:1]])
    crossings = []
    lengths = np.abs(np.diff(fine, axis=0)).max(1) + 1
    steps = int(lengths.sum())
    if steps > max_steps(size):
        raise ValueError(f"its border has {steps} steps; valid: at most {max_steps(size)}")
    previous = None
    for edges in np.split(np.arange(len(lengths)), _blocks(lengths)):
        border = _border(fine[edges], fine[edges + 1], lengths[edges])
        if previous is not None:
            border = np.concatenate([previous, border])
        previous = border[-1:]
        crossings.append(_crossings(border, height, width))
    return from_changes(np.concatenate(crossings), height * width, steps)


def union_mask(polygons: Iterable[np.ndarray], size: tuple[int, int]) -> Runs:
    """Return the pixels inside any of the polygons, one or more, each `[N, 2]`."""
    return union([polygon_mask(points, size) for points in polygons])


def _blocks(lengths: np.ndarray) -> np.ndarray:
    """Return indices that split edges into blocks of few points: a far point has a long edge."""
    return np.flatnonzero(np.diff(np.cumsum(lengths) // _BLOCK_POINTS)) + 1


def _border(starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the points of the fine grid along edges, int64 `[N, 2]`, with both ends of each."""
    steps = np.abs(ends - starts)
    along_x = steps[:, 0] >= steps[:, 1]
    # Each edge is followed from its lower end and then reversed, so that both directions round
    # alike.
    reverse = np.where(along_x, starts[:, 0] > ends[:, 0], starts[:, 1] > ends[:, 1])
    low = np.where(reverse[:, None], ends, starts)
    high = np.where(reverse[:, None], starts, ends)
    long, short = np.where(along_x, 0, 1), np.where(along_x, 1, 0)
    rows = np.arange(len(low))
    slope = (high - low)[rows, short] / np.maximum(steps[rows, long], 1)
    edge = np.repeat(rows, lengths)
    offset = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    offset = np.where(reverse[edge], lengths[edge] - 1 - offset, offset)
    points = np.empty((len(edge), 2), np.int64)
    points[np.arange(len(edge)), long[edge]] = offset + low[edge, long[edge]]
    other = low[edge, short[edge]] + slope[edge] * offset + 0.5
    points[np.arange(len(edge)), short[edge]] = np.trunc(other).astype(np.int64)
    return points


def _crossings(border: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the pixels, numbered down the columns, above which the border crosses a centre line.

    The number of all pixels of the image stands for a crossing below the last one.
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
    """Return the corners `[4, 2]` of a box.

    Args:
        left: Left edge of the box before it is rotated.
        top: Top edge of the box before it is rotated.
        width: Width of the box.
        height: Height of the box.
        degrees: Rotation, clockwise on the screen.
        about: The fixed point: `centre`, or `corner`, the one at the left and top.
    """
    corners = np.asarray([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    pivot = np.asarray([width / 2, height / 2] if about == "centre" else [0.0, 0.0])
    return (corners - pivot) @ _rotation(degrees).T + pivot + [left, top]


def ellipse_mask(
    centre: Sequence[float], radii: Sequence[float], degrees: float, size: tuple[int, int]
) -> Runs:
    """Return the pixels whose centres lie in an ellipse.

    Args:
        centre: x and y.
        radii: Radii along x and y, before the rotation.
        degrees: Rotation about the centre, clockwise on the screen.
        size: Height and width of the image.
    """
    height, width = size
    left, right = (
        int(min(max(round(centre[0] + sign * max(radii)), 0), width)) for sign in (-1, 1)
    )
    if min(radii) <= _MIN_RADIUS or left >= right:
        return Runs(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    column = np.arange(left, right)
    x = column + 0.5 - centre[0]
    # In each column, the two solutions of (u / across)^2 + (v / down)^2 = 1 for y.
    (cos, _), (sin, _) = _rotation(degrees)
    across, down = radii
    a = (sin / across) ** 2 + (cos / down) ** 2
    b = 2 * x * cos * sin * (across**-2 - down**-2)
    c = (x * cos / across) ** 2 + (x * sin / down) ** 2 - 1
    inside = b**2 - 4 * a * c >= -_TOLERANCE
    column, b, c = column[inside], b[inside], c[inside]
    half = np.sqrt(np.maximum(b**2 - 4 * a * c, 0))
    first = np.ceil(centre[1] + (-b - half) / (2 * a) - 0.5 - _TOLERANCE)
    end = np.floor(centre[1] + (-b + half) / (2 * a) - 0.5 + _TOLERANCE) + 1
    rows = np.stack([first, np.maximum(end, first)]).clip(0, height).astype(np.int64)
    return from_changes((column * height + rows).T.ravel(), height * width, len(column))


def _rotation(degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    return np.asarray([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
