"""VGG Image Annotator JSON: polygons, rectangles, circles and ellipses (versions 1 and 2).

Both exported annotations and project files are read. The class of a region is its attribute
`label`, `class`, `name` or `type`, or its only attribute. Class 0 is the background, followed by
the sorted classes. Regions are drawn in their order. Polylines and points have no area: they are
counted and left out.
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
from fcnjax.data.sources.annotation_tools.image_names import check_unique_images, portable_path
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, parse_json, read_text

_CLASS_KEYS = ("label", "class", "name", "type")


def parse(path: Path) -> Index:
    """Parse a file of annotations or a project.

    Raises:
        UserError: It cannot be read or is not VIA JSON; names the image and the region.
    """
    content = parse_json(read_text(path), path)
    is_project = isinstance(content, dict) and "_via_img_metadata" in content
    images = field(content, "_via_img_metadata", dict, str(path)) if is_project else content
    if not isinstance(images, dict) or not images:
        raise UserError(f"{path}: is not VIA JSON: it has no image")
    names, regions, left_out = [], [], Counter()
    for image in images.values():
        name = portable_path(field(image, "filename", str, str(path)))
        names.append(name)
        regions.append([])
        entries = field(image, "regions", (list, dict), f"{path}, {name}")
        entries = entries.values() if isinstance(entries, dict) else entries
        for number, entry in enumerate(entries, start=1):
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
    check_unique_images(path, names)
    return Index(
        tuple(sorted({region.category for each in regions for region in each})),
        tuple(names),
        (None,) * len(names),
        tuple(regions),
        entry="region {} of an image",
        left_out=left_out,
    )


def _category(attributes: dict[str, Any], where: str) -> str:
    keys = [key for key in attributes if key.lower() in _CLASS_KEYS] or list(attributes)
    if len(keys) != 1:
        raise UserError(
            f"{where}: no attribute is clearly the class; it has "
            f"{', '.join(attributes) or 'none'}; valid: one, or one of {', '.join(_CLASS_KEYS)}"
        )
    value = attributes[keys[0]]
    if isinstance(value, dict):  # the states of a checkbox
        ticked = [name for name, on in value.items() if on]
        value = ticked[0] if len(ticked) == 1 else None
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: the attribute {keys[0]!r} names no class")
    return value.strip()


def _drawing(kind: str, shape: dict[str, Any]) -> functools.partial | None:
    """Return the drawing of a region; None if its shape has no area."""

    def numbers(*keys: str) -> list[float]:
        return [number_of(shape, key) for key in keys]

    if kind == "polygon":
        points = coordinates([shape.get("all_points_x"), shape.get("all_points_y")]).T
        return functools.partial(union_mask, (points_of(points, min_count=3),))
    if kind == "rect":
        return functools.partial(union_mask, (box_corners(*numbers("x", "y", "width", "height")),))
    if kind == "circle":
        x, y, radius = numbers("cx", "cy", "r")
        return functools.partial(ellipse_mask, (x, y), (radius, radius), 0.0)
    if kind == "ellipse":
        x, y, rx, ry = numbers("cx", "cy", "rx", "ry")
        angle = math.degrees(number_of(shape, "theta")) if shape.get("theta") else 0.0
        return functools.partial(ellipse_mask, (x, y), (rx, ry), angle)
    if kind in ("polyline", "point"):
        return None
    raise ValueError("its shape is unknown; valid: circle, ellipse, point, polygon, polyline, rect")


LAYOUT = annotated_layout(
    "VGG Image Annotator JSON, and images in config.data.images",
    parse,
    "via_project.json",
    default_files=("*.json",),
)
