"""COCO JSON (Lin et al., ECCV 2014): polygons and run-length masks, one entry for each object.

`config.data.annotations` and `.images` may contain `{split}`, as
`annotations/instances_{split}2017.json` and `{split}2017`, or, as Roboflow exports it,
`{split}/_annotations.coco.json` and `{split}`. Without it the file holds all images, and
`config.data.split.eval_fraction` of them is held out. Class 0 is the background. The other classes
are the categories in the order of their ids, or those in `config.data.class_names`; objects of
other categories are background.

Labels are drawn on reading, smaller objects over larger ones. `config.data.coco.crowd` and `.boxes`
set the handling of annotations with `iscrowd` and of boxes without a shape, which lie below the
others. The areas in the file are not used.
"""

import contextlib
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.data.annotations.annotated import BOX, CROWD, OBJECT, Index, Region
from fcnjax.data.annotations.annotated_layout import annotated_layout
from fcnjax.data.annotations.points import coordinates
from fcnjax.data.annotations.polygons import box_corners, union_mask
from fcnjax.data.annotations.run_lengths import coco_mask
from fcnjax.data.annotations.runs import Runs
from fcnjax.data.sources.annotation_tools.image_names import portable_path
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, int_field, parse_json, read_text

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.0*)?")
EXAMPLE = "annotations/instances_{split}2017.json"


class Images(NamedTuple):
    """The entries `images` of a file.

    Attributes:
        rows: The row of each image by its id.
        names: The files, with `/` between folders.
        sizes: Height and width; None if they are not stated.
    """

    rows: dict[int | str, int]
    names: list[str]
    sizes: list[tuple[int, int] | None]


def parse(path: Path) -> Index:
    """Parse a file of annotations.

    Raises:
        UserError: It cannot be read or is not COCO JSON; names the entry.
    """
    content = parse_json(read_text(path), path, hook=_compact)
    categories, groups, remarks = _categories(content, path)
    images = _images(content, path)
    regions: tuple[list[Region], ...] = tuple([] for _ in images.names)
    left_out: Counter = Counter()
    for number, (entry, where) in enumerate(_entries(content, "annotations", path)):
        if isinstance(entry, dict) and "segments_info" in entry:
            raise UserError(
                f"{where}: is in COCO's panoptic format, which is not supported; use the instances "
                "file of the same images"
            )
        row = images.rows.get(_key(entry, "image_id", where))
        category = categories.get(_key(entry, "category_id", where))
        if category is None:
            listed = ", ".join(map(str, categories))
            raise UserError(
                f"{where}: has the category {entry['category_id']}, which the file does not list; "
                f"valid: {listed}"
            )
        if row is None:
            left_out["of images that the file does not list", category] += 1
            continue
        region = _region(entry, images.sizes[row], where)
        if isinstance(region, str):
            left_out[region, category] += 1
        else:
            regions[row].append(Region(number, category, *region))
    names = tuple(dict.fromkeys(categories.values()))
    return Index(
        names,
        tuple(images.names),
        tuple(images.sizes),
        regions,
        entry="annotations[{}]",
        smaller_on_top=True,
        groups=groups,
        left_out=left_out,
        remarks=tuple(remarks),
    )


def _compact(entry: dict[str, Any]) -> dict[str, Any]:
    """Convert polygons to arrays: as lists of numbers they take most of the memory."""
    polygons = entry.get("segmentation")
    if isinstance(polygons, list) and all(isinstance(polygon, list) for polygon in polygons):
        # Other content is kept for the error that names its entry.
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            entry["segmentation"] = [np.asarray(polygon, np.float64) for polygon in polygons]
    return entry


def _entries(content: Any, key: str, path: Path) -> Iterator[tuple[Any, str]]:
    """Yield the entries of a list of the file, each with its position for errors."""
    for number, entry in enumerate(field(content, key, list, str(path))):
        yield entry, f"{path}, {key}[{number}]"


def _key(entry: Any, key: str, where: str) -> int | str:
    """Return an id; the texts `"1"` and `"1.0"` and the float 1.0 are the id 1."""
    value = field(entry, key, (int, float, str), where)
    if isinstance(value, int):  # the usual case; some files have a million ids
        return value
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return value
    return int_field(entry, key, where)


def _categories(content: Any, path: Path) -> tuple[dict[int | str, str], frozenset[str], list[str]]:
    """Return names by id, the names that are the `supercategory` of others, and remarks."""
    names: dict[int | str, str] = {}
    parents: dict[str, str] = {}
    for entry, where in _entries(content, "categories", path):
        key, name = _key(entry, "id", where), field(entry, "name", str, where)
        if names.setdefault(key, name) != name:
            raise UserError(f"{where}: has the id {key} of another category, {names[key]!r}")
        parents[name] = str(entry.get("supercategory"))
    order = sorted(names, key=lambda key: (isinstance(key, str), key))
    remarks = [
        f"{count} categories have the name {name!r}, and are one class"
        for name, count in Counter(names.values()).items()
        if count > 1
    ]
    groups = {parent for name, parent in parents.items() if parent != name and parent in parents}
    return {key: names[key] for key in order}, frozenset(groups), remarks


def _images(content: Any, path: Path) -> Images:
    images = Images({}, [], [])
    listed: dict[str, str] = {}
    for entry, where in _entries(content, "images", path):
        key = _key(entry, "id", where)
        name = portable_path(field(entry, "file_name", str, where))
        if key in images.rows:
            if images.names[images.rows[key]] != name:
                raise UserError(f"{where}: has the id {key} of another image")
            continue
        if name in listed:
            raise UserError(f"{where}: lists {name!r}, which {listed[name]} lists under another id")
        listed[name] = where
        images.rows[key] = len(images.names)
        images.names.append(name)
        size = tuple(
            int_field(entry, side, where) if entry.get(side) else 0 for side in ("height", "width")
        )
        images.sizes.append(size if all(size) else None)
    if not images.names:
        raise UserError(f"{path}: lists no image")
    return images


def _region(entry: dict[str, Any], size: tuple[int, int] | None, where: str) -> tuple | str:
    """Return the role and drawing of an annotation, or the reason why it is left out."""
    segmentation = entry.get("segmentation")
    role = CROWD if _is_crowd(entry, where) else OBJECT
    shape = field(entry, "segmentation", (list, dict), where) if segmentation else []
    if isinstance(shape, dict):
        return role, _runs(shape, where)
    polygons = _polygons(shape, where)
    if not polygons:
        box = _box(entry, where)
        if box is None:
            return "without a shape of any area"
        role, polygons = BOX, (box,)
    points = polygons[0] if len(polygons) == 1 else np.concatenate(polygons)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    if size and not (right > 0 and bottom > 0 and left < size[1] and top < size[0]):
        return "outside their image"
    return role, functools.partial(union_mask, polygons)


def _is_crowd(entry: dict[str, Any], where: str) -> bool:
    value = entry.get("iscrowd") or 0
    if value not in (0, 1, "0", "1"):
        raise UserError(f"{where}: 'iscrowd' is {value!r}; valid: 0, 1")
    return int(value) == 1


def _runs(shape: dict[str, Any], where: str) -> functools.partial:
    counts = field(shape, "counts", (list, str), where)
    size = field(shape, "size", list, where)
    if len(size) != 2:
        raise UserError(f"{where}: 'size' is {size}; valid: height and width")
    height, width = (int_field({"size": side}, "size", where) for side in size)
    if isinstance(counts, list):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            counts = np.asarray(counts, np.int64) if set(map(type, counts)) == {int} else counts
    return functools.partial(_draw_runs, counts, (height, width))


def _draw_runs(counts: Any, mask_size: tuple[int, int], size: tuple[int, int]) -> Runs:
    if mask_size != size:
        raise ValueError(f"it is of size {list(mask_size)}, and its image {list(size)}")
    return coco_mask(counts, size)


def _polygons(segmentation: list, where: str) -> tuple[np.ndarray, ...]:
    """Return the polygons `[N, 2]` with three points or more."""
    if segmentation and isinstance(segmentation[0], int | float):
        segmentation = [segmentation]  # a single polygon without an outer list
    polygons = []
    for points in segmentation:
        try:
            polygon = coordinates(points)
        except ValueError as error:
            raise UserError(f"{where}: a polygon cannot be used: {error}") from error
        if polygon.ndim == 2 and polygon.shape[1] == 2:  # pairs x, y
            polygon = polygon.ravel()
        if polygon.ndim != 1 or len(polygon) % 2:
            raise UserError(f"{where}: a polygon is not a list of x, y, x, y, ...")
        if len(polygon) >= 6:  # fewer than three points have no area
            polygons.append(polygon.reshape(-1, 2))
    return tuple(polygons)


def _box(entry: dict[str, Any], where: str) -> np.ndarray | None:
    """Return the corners `[4, 2]` of an annotation's box; None without a box of positive area."""
    try:
        box = coordinates(entry.get("bbox") or (0, 0, 0, 0))
    except ValueError as error:
        raise UserError(f"{where}: 'bbox' cannot be used: {error}") from error
    if box.shape != (4,):
        raise UserError(f"{where}: 'bbox' is {entry['bbox']}; valid: left, top, width, height")
    return box_corners(*box) if (box[2:] > 0).all() else None


LAYOUT = annotated_layout(
    "COCO JSON: config.data.annotations and .images; {split} in them is the split's name",
    parse,
    EXAMPLE,
    default_files=("_annotations.coco.json", "result.json", "annotations/instances_default.json"),
)
