"""Label Studio JSON: polygons, rectangles, ellipses, brush strokes and bitmasks.

The file is `config.data.annotations`, or the only JSON file in `config.data.root`. Images lie in
`config.data.images` or beside the file, under the uploaded name or the one that Label Studio gives
them, with a prefix of eight digits. Class 0 is the background, followed by the sorted labels.
Regions are drawn in their order.

If a task has several annotations, the ground truth is used, or the newest. Tasks without
annotations are left out. Regions without an area, as key points, are counted and left out.
"""

import functools
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from fcnjax.data.annotations.annotated import OBJECT, Index, Region
from fcnjax.data.annotations.annotated_layout import annotated_layout
from fcnjax.data.annotations.embedded import from_base64, read_embedded
from fcnjax.data.annotations.points import coordinates, number_of, points_of
from fcnjax.data.annotations.polygons import box_corners, ellipse_mask, union_mask
from fcnjax.data.annotations.run_lengths import label_studio_mask
from fcnjax.data.annotations.runs import Runs, from_mask
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.sources.annotation_tools.image_names import check_unique_images, portable_path
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, int_field, parse_json, read_text

Size = tuple[int, int]


def parse(path: Path) -> Index:
    """Parse an export.

    Raises:
        UserError: It cannot be read or is not Label Studio JSON; names the task.
    """
    tasks = parse_json(read_text(path), path)
    if not isinstance(tasks, list) or not tasks:
        raise UserError(f"{path}: is not Label Studio JSON: it is not a list of tasks")
    names, sizes, regions = [], [], []
    left_out: Counter = Counter()
    remarks: Counter = Counter()
    for number, task in enumerate(tasks):
        where = f"{path}, [{number}]"
        annotation = _select_annotation(task, where, remarks)
        if annotation is None:
            continue
        results = _region_results(field(annotation, "result", list, where))
        names.append(_image_name(task, where))
        sizes.append(_size(results[0], where) if results else None)
        regions.append([])
        for result in results:
            region = _region(result, where, remarks)
            if isinstance(region, Region):
                regions[-1].append(region._replace(number=number))
            else:
                left_out[region] += 1
    if not names:
        raise UserError(f"{path}: has no annotated task")
    check_unique_images(path, names)
    return Index(
        tuple(sorted({region.category for each in regions for region in each})),
        tuple(names),
        tuple(sizes),
        tuple(regions),
        entry="[{}]",
        left_out=left_out,
        remarks=tuple(f"{count} {text}" for text, count in remarks.items()),
    )


def _select_annotation(task: Any, where: str, remarks: Counter) -> dict[str, Any] | None:
    """Return the ground truth of a task, or its newest annotation; None if it has none."""
    if isinstance(task, dict) and "annotations" not in task and "completions" not in task:
        raise UserError(
            f"{where}: has no 'annotations'; export the project as 'JSON', not as 'JSON-MIN'"
        )
    key = "annotations" if isinstance(task, dict) and "annotations" in task else "completions"
    annotations = [
        annotation
        for annotation in field(task, key, list, where)
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    if not annotations:
        remarks["tasks without an annotation are left out"] += 1
        return None
    if len(annotations) > 1:
        remarks["tasks have several annotations: the ground truth is used, or the newest"] += 1

    def priority(annotation: dict[str, Any]) -> tuple[bool, str]:
        return bool(annotation.get("ground_truth")), str(annotation.get("updated_at") or "")

    # Reversed, since Label Studio appends newer annotations, and `max` returns the first.
    return max(reversed(annotations), key=priority)


def _image_name(task: dict[str, Any], where: str) -> str:
    """Return the path of a task's image, which may be given as a URL or a path on the server."""
    data = field(task, "data", dict, where)
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    images = [texts["image"]] if "image" in texts else []
    images = images or [text for text in texts.values() if _url_path(text).lower().endswith(_ENDS)]
    if len(images) != 1:
        raise UserError(
            f"{where}: 'data' names {len(images)} images; valid: one, as {{'image': ...}}"
        )
    return _url_path(images[0]).lstrip("/")


_ENDS = tuple(IMAGE_SUFFIXES)


def _url_path(url: str) -> str:
    try:
        parts = urlsplit(url)
        local = parse_qs(parts.query).get("d")  # /data/local-files/?d=photos/a.png
    except ValueError:  # not a valid URL
        return ""
    return portable_path(local[0] if local else unquote(parts.path))


def _region_results(results: list) -> list[dict[str, Any]]:
    """Return the results that are regions of the image, each once.

    A shape whose label was set separately has two results with the same `id`. The one with the
    label has the shape as well.
    """
    regions = [
        result
        for result in results
        if isinstance(result, dict) and isinstance(result.get("value"), dict)
        if "original_width" in result and _SHAPE_KEYS & result["value"].keys()
    ]
    labelled = {str(region.get("id")) for region in regions if _labels(region["value"])}
    return [r for r in regions if _labels(r["value"]) or str(r.get("id")) not in labelled]


_SHAPE_KEYS = {"points", "rle", "x", "imageDataURL", "vertices"}


def _labels(value: dict[str, Any]) -> list[str]:
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list) and names:
            return [str(name) for name in names]
    return []


def _size(result: dict[str, Any], where: str) -> Size:
    return tuple(int_field(result, f"original_{side}", where) for side in ("height", "width"))


def _region(result: dict[str, Any], where: str, remarks: Counter) -> Region | tuple[str, str]:
    """Return a region of the image, or the reason why it is left out and its label."""
    value, size = result["value"], _size(result, where)
    labels = _labels(value)
    if not labels:
        return "without a label", "no class"
    if len(labels) > 1:
        remarks["regions have several labels: the first is used"] += 1
    if result.get("image_rotation"):
        raise UserError(
            f"{where}: the image was rotated by {result['image_rotation']} degrees in Label "
            "Studio, which is not supported; rotate it back there"
        )
    try:
        draw = _drawing(value, size)
    except ValueError as error:
        raise UserError(f"{where}: a region of {labels[0]!r} is damaged: {error}") from error
    if draw is None:
        return f"drawn as {result.get('type')}, without an area,", labels[0]
    return Region(0, labels[0], OBJECT, draw)


def _drawing(value: dict[str, Any], size: Size) -> functools.partial | None:
    """Return the drawing of a region; None if it has no area."""

    def pair(*keys: str) -> np.ndarray:
        return coordinates([number_of(value, key) for key in keys] * percent)

    if "rle" in value:
        return functools.partial(_draw_brush, value["rle"], size)
    if "imageDataURL" in value:
        return functools.partial(_draw_bitmask, value["imageDataURL"], size)
    percent = np.asarray(size[::-1], np.float64) / 100  # pixels per percent along x and y
    if "points" in value:
        points = points_of(points_of(value["points"]) * percent)
        return functools.partial(union_mask, (points,)) if len(points) >= 3 else None
    angle = number_of(value, "rotation") if value.get("rotation") else 0.0
    if "radiusX" in value:
        centre, radii = pair("x", "y"), pair("radiusX", "radiusY")
        return functools.partial(ellipse_mask, tuple(centre), tuple(radii), angle)
    if "width" in value and "height" in value:
        corners = box_corners(*pair("x", "y"), *pair("width", "height"), angle, about="corner")
        return functools.partial(union_mask, (coordinates(corners),))
    return None


def _draw_brush(values: list, mask_size: Size, size: Size) -> Runs:
    _check_size(mask_size, size)
    return from_mask(label_studio_mask(values, size), 0, 0, size)


def _draw_bitmask(url: str, mask_size: Size, size: Size) -> Runs:
    """Draw the pixels of a PNG in a data URL that are neither black nor transparent."""
    _check_size(mask_size, size)
    mask = read_embedded(from_base64(str(url).partition("base64,")[2]), size)
    if mask.coloured.shape != size:
        raise ValueError(f"its bitmask is {mask.coloured.shape[1]}x{mask.coloured.shape[0]} pixels")
    visible = True if mask.alpha is None else mask.alpha > 0
    return from_mask(mask.coloured & visible, 0, 0, size)


def _check_size(mask_size: Size, size: Size) -> None:
    if mask_size != size:
        raise ValueError(f"it is of size {list(mask_size)}, and its image {list(size)}")


LAYOUT = annotated_layout(
    "Label Studio JSON, and images in config.data.images",
    parse,
    "project.json",
    default_files=("*.json",),
)
