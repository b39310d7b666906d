"""Shapes in LabelMe files, drawn as LabelMe exports them."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcnjax.data.annotations.drawing_budget import DrawingBudget
from fcnjax.data.annotations.embedded import from_base64, read_embedded
from fcnjax.data.annotations.points import points_of
from fcnjax.errors import UserError, choose
from fcnjax.io.json_files import field
from fcnjax.io.regular_files import read_file

_ANY = 1 << 30
# Pillow draws an outline faster, by this factor, than the drawing whose steps are counted.
_PILLOW_SPEEDUP = 20
_CIRCLE_STEPS = 40  # of an outline, in radii
# The valid numbers of points of each shape type.
POINTS: dict[str, Collection[int]] = {
    "polygon": range(3, _ANY),
    "rectangle": (2, 4),  # X-AnyLabeling writes all four corners
    "oriented_rectangle": (4,),
    "rotation": (4,),  # a rotated rectangle of X-AnyLabeling
    "quadrilateral": (4,),
    "circle": (2,),
    "line": (2,),
    "linestrip": range(2, _ANY),
    "point": (1,),
    "mask": (2,),
}
# Shape types without an area. They are counted and left out.
UNDRAWN = ("cuboid", "points", "3d")


def shape_type(shape: Any, where: str) -> str:
    """Return the type of a shape; old files omit it for polygons.

    Raises:
        UserError: The shape is not an object, or its type not a text; names the shape.
    """
    if isinstance(shape, dict) and not shape.get("shape_type"):
        return "polygon"
    return field(shape, "shape_type", str, where)


def check_shape_types(shapes: Iterable[tuple[str, str]]) -> None:
    """Raise UserError if shapes have an unknown type; names the first one and their number.

    Args:
        shapes: The position of each shape in the files, and its type.
    """
    counts: Counter = Counter()
    first: dict[str, str] = {}
    for where, kind in shapes:
        if kind not in POINTS and kind not in UNDRAWN:
            counts[kind] += 1
            first.setdefault(kind, where)
    for kind, where in first.items():
        many = f" ({counts[kind]} shapes have this type)" if counts[kind] > 1 else ""
        choose(POINTS, kind, f"{where}: shape_type{many}")


def draw_shape(
    canvas: Image.Image, shape: dict[str, Any], value: int, where: str, work: DrawingBudget
) -> None:
    """Draw a shape, clipped at the canvas. Lines are one pixel wide, and a point is one pixel.

    Args:
        canvas: An image of mode `I`.
        shape: An entry of `shapes`.
        value: The value of its pixels.
        where: Names the shape in an error.
        work: The work done on the canvas, to which the shape is added.

    Raises:
        UserError: The type, points or mask are invalid, or the work exceeds its limit.
    """
    kind = shape_type(shape, where)
    valid = choose(POINTS, kind, f"{where}: shape_type")
    points = _points(shape, where)
    if len(points) not in valid:
        need = f"{valid[0]} or more" if len(valid) > 2 else " or ".join(map(str, valid))
        raise UserError(f"{where}: the {kind} has {len(points)} points; valid: {need}")
    try:
        work.add(*_work(kind, points, canvas.size))
    except ValueError as error:
        raise UserError(f"{where}: cannot be drawn: {error}") from error
    draw = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), rim = points
        r = math.dist((x, y), rim)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=value, outline=value)
    elif kind == "rectangle" and _is_upright(points):
        (left, right), (top, bottom) = (
            (min(side), max(side)) for side in zip(*points, strict=True)
        )
        draw.rectangle((left, top, right, bottom), fill=value, outline=value)
    elif kind in ("line", "linestrip"):
        draw.line(points, fill=value, width=1)
    elif kind == "point":
        draw.point(points, fill=value)
    elif kind == "mask":
        _paste_mask(canvas, shape, points, value, where)
    else:
        draw.polygon(points, fill=value, outline=value)


def _is_upright(points: Sequence[tuple[float, float]]) -> bool:
    """Return whether points are two opposite corners, or the four of an axis-aligned rectangle."""
    if len(points) == 2:
        return True
    x, y = (sorted(side) for side in zip(*points, strict=True))
    return len({*points}) == 4 and x[0] == x[1] and x[2] == x[3] and y[0] == y[1] and y[2] == y[3]


def _points(shape: dict[str, Any], where: str) -> list[tuple[float, float]]:
    try:
        points = points_of(field(shape, "points", list, where))
    except ValueError as error:
        raise UserError(f"{where}: 'points' cannot be used: {error}") from error
    return [tuple(point) for point in points.tolist()]


def _work(
    kind: str, points: Sequence[tuple[float, float]], size: tuple[int, int]
) -> tuple[float, float]:
    """Return the steps and pixels of drawing a shape with Pillow, as `DrawingBudget` counts them.

    Pillow follows an outline outside the canvas too, and tests every edge for every row.
    """
    closed = np.asarray([*points, points[0]])
    outline = np.abs(np.diff(closed, axis=0)).max(1).sum()
    low, high = closed.min(0), closed.max(0)
    if kind == "circle":
        radius = math.dist(*points)
        outline, low, high = _CIRCLE_STEPS * radius, closed[0] - radius, closed[0] + radius
    sides = np.minimum(high, size) - np.maximum(low, 0) + 1
    area = 0.0 if kind in ("line", "linestrip") else np.prod(np.maximum(sides, 0))
    return (outline + len(points) * size[1]) / _PILLOW_SPEEDUP, float(area)


def _paste_mask(
    canvas: Image.Image, shape: dict[str, Any], points: Sequence, value: int, where: str
) -> None:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    mask = _read_mask(shape, where, (canvas.height, canvas.width))
    span = (right - left + 1, bottom - top + 1)
    if "mask_file" in shape and mask.shape[::-1] == canvas.size:
        left = top = 0
    elif mask.shape[::-1] != span:
        size = "x".join(map(str, mask.shape[1::-1]))
        raise UserError(
            f"{where}: the mask is {size} pixels, and its points span {span[0]}x{span[1]}"
        )
    canvas.paste(value, (left, top), Image.fromarray(mask))


def _read_mask(shape: dict[str, Any], where: str, max_size: tuple[int, int]) -> np.ndarray:
    """Read a mask `[h, w]` bool: a PNG in base64, or the file that an XML file names."""
    file = shape.get("mask_file")
    try:
        content = read_file(file) if file else from_base64(field(shape, "mask", str, where))
        mask = read_embedded(content, max_size)
    except ValueError as error:
        name = file or "'mask'"
        raise UserError(f"{where}: {name} cannot be read: {error}") from error
    if mask.alpha is not None and mask.alpha.min() != mask.alpha.max():
        return mask.alpha > 0
    return mask.coloured
