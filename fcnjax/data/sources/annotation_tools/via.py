"""VGG Image Annotator's JSON: polygons, rectangles, circles and ellipses (versions 1 to 2).

Both the annotations that it exports and its project file are read. The class of a region is its
attribute `label`, `class`, `name` or `type`, or the only one it has. Class 0 is the background,
then come the classes, sorted. Regions are drawn in their order; polylines and points have no area
and are left out, and counted.
"""

import functools
import math
from collections import Counter
from pathlib import Path
from typing import Any

from fcnjax.data.annotations.annotated import OBJECT, Index, Region
from fcnjax.data.annotations.annotated_layout import annotated_layout
from fcnjax.data.annotations.points import coordinates, number_of, points_of
from fcnjax.data.annotations.polygons import box_corners, ellipse_mask, union_mask
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, parse_json, read_text

_CLASS_KEYS = ("label", "class", "name", "type")


def parse(path: Path) -> Index:
    """Parses a file of annotations, or a project.

    Raises:
        UserError: It cannot be read, or is not VIA's; names the image and the region.
    """
    content = parse_json(read_text(path), path)
    images = (
        field(content, "_via_img_metadata", dict, str(path)) if _is_project(content) else content
    )
    if not isinstance(images, dict) or not images:
        raise UserError(f"{path}: is not VIA's JSON: it has no image")
    names, regions, left_out = [], [], Counter()
    for image in images.values():
        name = field(image, "filename", str, str(path)).replace("\\", "/")
        names.append(name)
        regions.append([])
        listed = field(image, "regions", (list, dict), f"{path}, {name}")
        for number, entry in enumerate(listed.values() if isinstance(listed, dict) else listed, 1):
            where = f"{path}, {name}, region {number}"
            shape = field(entry, "shape_attributes", dict, where)
            kind = field(shape, "name", str, where)
            category = _category(field(entry, "region_attributes", dict, where), where)
            try:
                draw = _drawing(kind, shape)
            except ValueError as error:
                raise UserError(f"{where}: the {kind} is damaged: {error}") from error
            if draw is None:
                left_out[f"drawn as {kind}, without an area,", category] += 1
            else:
                regions[-1].append(Region(number, category, OBJECT, draw))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path}: lists the image {twice[0]!r} twice")
    return Index(
        tuple(sorted({region.category for each in regions for region in each})),
        tuple(names),
        (None,) * len(names),
        tuple(regions),
        entry="region {} of an image",
        left_out=left_out,
    )


def _is_project(content: Any) -> bool:
    return isinstance(content, dict) and "_via_img_metadata" in content


def _category(attributes: dict[str, Any], where: str) -> str:
    keys = [key for key in attributes if key.lower() in _CLASS_KEYS] or list(attributes)
    if len(keys) != 1:
        raise UserError(
            f"{where}: which attribute is the class is not clear; it has "
            f"{', '.join(attributes) or 'none'}; valid: one, or one of {', '.join(_CLASS_KEYS)}"
        )
    value = attributes[keys[0]]
    if isinstance(value, dict):  # of a checkbox: what is ticked
        ticked = [name for name, on in value.items() if on]
        value = ticked[0] if len(ticked) == 1 else None
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: the attribute {keys[0]!r} names no class")
    return value.strip()


def _drawing(kind: str, shape: dict[str, Any]) -> functools.partial | None:
    """Draws a region; None where its kind has no area."""

    def numbers(*keys: str) -> list[float]:
        return [number_of(shape, key) for key in keys]

    if kind == "polygon":
        both = coordinates([shape.get("all_points_x"), shape.get("all_points_y")])
        return functools.partial(union_mask, (points_of(both.T, min_count=3),))
    if kind == "rect":
        return functools.partial(union_mask, (box_corners(*numbers("x", "y", "width", "height")),))
    if kind == "circle":
        x, y, radius = numbers("cx", "cy", "r")
        return functools.partial(ellipse_mask, (x, y), (radius, radius), 0.0)
    if kind == "ellipse":
        x, y, across, down = numbers("cx", "cy", "rx", "ry")
        turn = math.degrees(number_of(shape, "theta")) if shape.get("theta") else 0.0
        return functools.partial(ellipse_mask, (x, y), (across, down), turn)
    if kind in ("polyline", "point"):
        return None
    raise ValueError(
        "its shape is not known; valid: circle, ellipse, point, polygon, polyline, rect"
    )


LAYOUT = annotated_layout(
    "VGG Image Annotator's JSON, and images in config.data.images",
    parse,
    "via_project.json",
    default_files=("*.json",),
)
