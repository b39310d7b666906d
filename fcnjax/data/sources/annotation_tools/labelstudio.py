"""Label Studio's JSON export: polygons, rectangles, ellipses, brush strokes and bitmasks.

The file is the one JSON file in `config.data.root`, or the one that `config.data.annotations`
names; images lie in `config.data.images` or beside it, by the name that was uploaded or the one
that Label Studio gave them, which has eight digits before it. Class 0 is the background, then come
the labels, sorted. Regions are drawn in their order.

Of several annotations of a task the one marked as ground truth counts, else the newest; tasks that
nobody annotated are left out. Regions that have no area, as key points, are left out, and counted.
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
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, parse_json, read_text, whole

Size = tuple[int, int]


def parse(path: Path) -> Index:
    """Parses an export.

    Raises:
        UserError: It cannot be read, or is not Label Studio's JSON; names the task.
    """
    tasks = parse_json(read_text(path), path)
    if not isinstance(tasks, list) or not tasks:
        raise UserError(f"{path}: is not Label Studio's JSON: it is no list of tasks")
    names, sizes, regions = [], [], []
    left_out: Counter = Counter()
    remarks: Counter = Counter()
    for place, task in enumerate(tasks):
        where = f"{path}, [{place}]"
        annotation = _annotation(task, where, remarks)
        if annotation is None:
            continue
        name = _image_name(task, where)
        results = _regions_of(field(annotation, "result", list, where))
        names.append(name)
        sizes.append(_size(results[0], where) if results else None)
        regions.append([])
        for result in results:
            found = _region(result, where, remarks)
            if isinstance(found, Region):
                regions[-1].append(found._replace(number=place))
            else:
                left_out[found] += 1
    if not names:
        raise UserError(f"{path}: has no annotated task")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{path}: {twice[0]!r} is the image of two tasks")
    return Index(
        tuple(sorted({region.category for each in regions for region in each})),
        tuple(names),
        tuple(sizes),
        tuple(regions),
        entry="[{}]",
        left_out=left_out,
        remarks=tuple(f"{count} {text}" for text, count in remarks.items()),
    )


def _annotation(task: Any, where: str, remarks: Counter) -> dict[str, Any] | None:
    """The annotation of a task that counts; None where nobody annotated it."""
    if isinstance(task, dict) and "annotations" not in task and "completions" not in task:
        raise UserError(
            f"{where}: has no 'annotations'; export the project as 'JSON', not as 'JSON-MIN'"
        )
    key = "annotations" if isinstance(task, dict) and "annotations" in task else "completions"
    every = [
        annotation
        for annotation in field(task, key, list, where)
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    if not every:
        remarks["tasks without an annotation are left out"] += 1
        return None
    if len(every) > 1:
        remarks["tasks have several annotations: the ground truth counts, else the newest"] += 1
    # The last of equals: Label Studio appends.
    return max(
        reversed(every), key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at") or ""))
    )


def _image_name(task: dict[str, Any], where: str) -> str:
    """The image's name, of what may be an address, or a path of the server."""
    data = field(task, "data", dict, where)
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    found = [texts["image"]] if "image" in texts else []
    found = found or [text for text in texts.values() if _path_of(text).lower().endswith(_ENDS)]
    if len(found) != 1:
        raise UserError(
            f"{where}: 'data' names {len(found)} images; valid: one, as {{'image': ...}}"
        )
    return _path_of(found[0]).lstrip("/")


_ENDS = tuple(IMAGE_SUFFIXES)


def _path_of(address: str) -> str:
    try:
        parts = urlsplit(address)
        local = parse_qs(parts.query).get("d")  # /data/local-files/?d=photos/a.png
    except ValueError:  # no address that can be
        return ""
    return (local[0] if local else unquote(parts.path)).replace("\\", "/")


def _regions_of(results: list) -> list[dict[str, Any]]:
    """The results that are regions of the image, each once.

    Where the label of a shape is given apart, it comes as two results with one `id`, of which that
    with the label has the shape as well.
    """
    found = [r for r in results if isinstance(r, dict) and isinstance(r.get("value"), dict)]
    found = [r for r in found if "original_width" in r and _KINDS & r["value"].keys()]
    labelled = {str(r.get("id")) for r in found if _labels(r["value"])}
    return [r for r in found if _labels(r["value"]) or str(r.get("id")) not in labelled]


_KINDS = {"points", "rle", "x", "imageDataURL", "vertices"}


def _labels(value: dict[str, Any]) -> list[str]:
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list) and names:
            return [str(name) for name in names]
    return []


def _size(result: dict[str, Any], where: str) -> Size:
    return tuple(whole(result, f"original_{side}", where) for side in ("height", "width"))


def _region(result: dict[str, Any], where: str, remarks: Counter) -> Region | tuple[str, str]:
    """A region of the image, or the reason why it is left out and its label."""
    value, size = result["value"], _size(result, where)
    labels = _labels(value)
    if not labels:
        return "without a label", "no class"
    if len(labels) > 1:
        remarks["regions have several labels: the first counts"] += 1
    if result.get("image_rotation"):
        raise UserError(
            f"{where}: the image was rotated by {result['image_rotation']} degrees in Label "
            "Studio, which is not read; rotate it back there"
        )
    try:
        draw = _drawing(value, size)
    except ValueError as error:
        raise UserError(f"{where}: a region of {labels[0]!r} is damaged: {error}") from error
    if draw is None:
        return f"drawn as {result.get('type')}, without an area,", labels[0]
    return Region(0, labels[0], OBJECT, draw)


def _drawing(value: dict[str, Any], size: Size) -> functools.partial | None:
    """Draws a region; None where it has no area."""

    def pair(*keys: str) -> np.ndarray:
        return coordinates([number_of(value, key) for key in keys] * percent)

    if "rle" in value:
        return functools.partial(_draw_brush, value["rle"], size)
    if "imageDataURL" in value:
        return functools.partial(_draw_bitmask, value["imageDataURL"], size)
    percent = np.asarray(size[::-1], np.float64) / 100  # coordinates are in percent
    if "points" in value:
        points = points_of(points_of(value["points"]) * percent)
        return functools.partial(union_mask, (points,)) if len(points) >= 3 else None
    turn = number_of(value, "rotation") if value.get("rotation") else 0.0
    if "radiusX" in value:
        centre, radii = pair("x", "y"), pair("radiusX", "radiusY")
        return functools.partial(ellipse_mask, tuple(centre), tuple(radii), turn)
    if "width" in value and "height" in value:
        corners = box_corners(*pair("x", "y"), *pair("width", "height"), turn, about="corner")
        return functools.partial(union_mask, (coordinates(corners),))
    return None


def _draw_brush(values: list, own: Size, size: Size) -> Runs:
    _refuse_other_size(own, size)
    return from_mask(label_studio_mask(values, size), 0, 0, size)


def _draw_bitmask(address: str, own: Size, size: Size) -> Runs:
    """The pixels of a PNG in a data address that are not black or clear."""
    _refuse_other_size(own, size)
    mask = read_embedded(from_base64(str(address).partition("base64,")[2]), size)
    if mask.coloured.shape != size:
        raise ValueError(f"its bitmask is {mask.coloured.shape[1]}x{mask.coloured.shape[0]} pixels")
    visible = True if mask.alpha is None else mask.alpha > 0
    return from_mask(mask.coloured & visible, 0, 0, size)


def _refuse_other_size(own: Size, size: Size) -> None:
    if own != size:
        raise ValueError(f"it is of size {list(own)}, and its image {list(size)}")


LAYOUT = annotated_layout(
    "Label Studio's JSON export, and images in config.data.images",
    parse,
    "project.json",
    default_files=("*.json",),
)
