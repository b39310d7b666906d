"""Shapes of LabelMe and of tools that write its files, drawn as LabelMe itself exports them."""

import base64
import io
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcnjax.data.annotations.annotation_files import FARTHEST
from fcnjax.data.readers.limits import refuse_large
from fcnjax.errors import UserError, choose
from fcnjax.io.json_files import field

_MANY = 1 << 30
# Shape type: the valid numbers of its points.
POINTS: dict[str, Collection[int]] = {
    "polygon": range(3, _MANY),
    "rectangle": (2, 4),  # X-AnyLabeling writes all four corners
    "oriented_rectangle": (4,),
    "rotation": (4,),  # X-AnyLabeling: a rotated rectangle
    "quadrilateral": (4,),
    "circle": (2,),
    "line": (2,),
    "linestrip": range(2, _MANY),
    "point": (1,),
    "mask": (2,),
}
# Shape types without pixels of their own; they are counted and left out.
UNDRAWN = ("cuboid", "points", "3d")


def shape_type(shape: dict[str, Any]) -> str:
    """The type of a shape; old files do not say it of polygons."""
    return shape.get("shape_type") or "polygon"


def refuse_unknown_types(shapes: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Raises UserError where shapes have a type that is not known; names the first, and how many.

    Args:
        shapes: Each after its place in the files.
    """
    counts: Counter = Counter()
    first: dict[str, str] = {}
    for where, shape in shapes:
        kind = shape_type(shape)
        if kind not in POINTS and kind not in UNDRAWN:
            counts[kind] += 1
            first.setdefault(kind, where)
    for kind, where in first.items():
        many = f" ({counts[kind]} shapes have this type)" if counts[kind] > 1 else ""
        choose(POINTS, kind, f"{where}: shape_type{many}")


def draw_shape(canvas: Image.Image, shape: dict[str, Any], value: int, where: str) -> None:
    """Draws a shape; what lies outside the canvas is cut off.

    Lines are one pixel wide and a point is one pixel.

    Args:
        canvas: Of mode `I`.
        shape: An entry of `shapes`.
        value: What its pixels become.
        where: Names the shape in an error.

    Raises:
        UserError: A type, points or a mask that LabelMe does not write.
    """
    kind = shape_type(shape)
    valid = choose(POINTS, kind, f"{where}: shape_type")
    points = _points(shape, where)
    if len(points) not in valid:
        need = f"{valid[0]} or more" if len(valid) > 2 else " or ".join(map(str, valid))
        raise UserError(f"{where}: the {kind} has {len(points)} points; valid: {need}")
    draw = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), edge = points
        r = math.dist((x, y), edge)
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
    """Return whether points are two opposite corners, or all four of an upright rectangle."""
    if len(points) == 2:
        return True
    x, y = (sorted(side) for side in zip(*points, strict=True))
    return len({*points}) == 4 and x[0] == x[1] and x[2] == x[3] and y[0] == y[1] and y[2] == y[3]


def _points(shape: dict[str, Any], where: str) -> list[tuple[float, float]]:
    try:
        points = np.asarray(field(shape, "points", list, where), np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) < FARTHEST).all():
            raise ValueError
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: 'points' are no pairs x, y of less than {FARTHEST:.0f} pixels"
        ) from error
    return [tuple(point) for point in points.tolist()]


def _paste_mask(
    canvas: Image.Image, shape: dict[str, Any], points: Sequence, value: int, where: str
) -> None:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    mask = _read_mask(shape, where)
    span = (right - left + 1, bottom - top + 1)
    if "mask_file" in shape and mask.shape[::-1] == canvas.size:
        left = top = 0
    elif mask.shape[::-1] != span:
        found = "x".join(map(str, mask.shape[1::-1]))
        raise UserError(
            f"{where}: the mask is {found} pixels, and its points span {span[0]}x{span[1]}"
        )
    canvas.paste(value, (left, top), Image.fromarray(mask))


def _read_mask(shape: dict[str, Any], where: str) -> np.ndarray:
    """The mask `[h, w]` bool: a PNG in base64, or the file that an XML file names."""
    file = shape.get("mask_file")
    try:
        encoded = Path(file).read_bytes() if file else field(shape, "mask", str, where)
        content = encoded if file else base64.b64decode(encoded)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            refuse_large(f"{where}: mask", *image.size[::-1], 4, file_bytes=len(content))
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:  # a broken PNG is Pillow's SyntaxError
        found = f"{file} cannot be read as a mask" if file else "'mask' is not a PNG in base64"
        raise UserError(f"{where}: {found}") from error
    if pixels.ndim == 2:
        return pixels > 0
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.size and alpha.min() != alpha.max():
        return alpha[..., 0] > 0
    return (colours > 0).any(-1)
