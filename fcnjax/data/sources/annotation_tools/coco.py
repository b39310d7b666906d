"""COCO's JSON (Lin et al., ECCV 2014): polygons and run lengths, one entry for each object.

`config.data.annotations` and `.images` may have `{split}` in them, as
`annotations/instances_{split}2017.json` and `{split}2017`, or, as Roboflow exports it,
`{split}/_annotations.coco.json` and `{split}`. An annotations file without it holds all images, and
a part is held out by `config.data.eval_fraction`. Class 0 is the background, then come the
categories by their id, or those that `config.data.class_names` names; others are background.

The label is drawn when it is read, smaller objects over larger ones. Annotations with `iscrowd` and
boxes without a shape are treated as `config.data.crowd` and `.boxes` say, and lie below the others.
The file's areas are not used.
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
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, parse_json, read_text, whole

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.0*)?")
EXAMPLE = "annotations/instances_{split}2017.json"


class Images(NamedTuple):
    """The entries `images` of a file.

    Attributes:
        rows: The row of each image, by its id.
        names: The files, with `/` between folders.
        sizes: Height and width; None where they are not stated.
    """

    rows: dict[int | str, int]
    names: list[str]
    sizes: list[tuple[int, int] | None]


def parse(path: Path) -> Index:
    """Parses a file of annotations.

    Raises:
        UserError: It cannot be read, or is not COCO's; names the entry.
    """
    content = parse_json(read_text(path), path, hook=_smaller)
    categories, groups, remarks = _categories(content, path)
    images = _images(content, path)
    regions: tuple[list[Region], ...] = tuple([] for _ in images.names)
    left_out: Counter = Counter()
    for place, (entry, where) in enumerate(_entries(content, "annotations", path)):
        if isinstance(entry, dict) and "segments_info" in entry:
            raise UserError(
                f"{where}: is of COCO's panoptic form, which is not read; the instances file of "
                "the same images is"
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
        found = _region(entry, images.sizes[row], where)
        if isinstance(found, str):
            left_out[found, category] += 1
        else:
            regions[row].append(Region(place, category, *found))
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


def _smaller(entry: dict[str, Any]) -> dict[str, Any]:
    """An object of the file in less memory: lists of numbers take most of it."""
    polygons = entry.get("segmentation")
    if isinstance(polygons, list) and all(isinstance(polygon, list) for polygon in polygons):
        # What is no list of numbers stays, for the error that names its place.
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            entry["segmentation"] = [np.asarray(polygon, np.float64) for polygon in polygons]
    return entry


def _entries(content: Any, key: str, path: Path) -> Iterator[tuple[Any, str]]:
    """The entries of a list of the file, each with its place, for an error."""
    for place, entry in enumerate(field(content, key, list, str(path))):
        yield entry, f"{path}, {key}[{place}]"


def _key(entry: Any, key: str, where: str) -> int | str:
    """An id; one that is a text, or `1.0`, is the same as the number."""
    value = field(entry, key, (int, float, str), where)
    if isinstance(value, int):  # as in nearly all files, of which some have a million
        return value
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return value
    return whole(entry, key, where)


def _categories(content: Any, path: Path) -> tuple[dict[int | str, str], frozenset[str], list[str]]:
    """Names by id, those that are the `supercategory` of others, and remarks."""
    names: dict[int | str, str] = {}
    above: dict[str, str] = {}
    for entry, where in _entries(content, "categories", path):
        key, name = _key(entry, "id", where), field(entry, "name", str, where)
        if names.setdefault(key, name) != name:
            raise UserError(f"{where}: has the id {key} of another category, {names[key]!r}")
        above[name] = str(entry.get("supercategory"))
    order = sorted(names, key=lambda key: (isinstance(key, str), key))
    remarks = [
        f"{count} categories have the name {name!r}, and are one class"
        for name, count in Counter(names.values()).items()
        if count > 1
    ]
    groups = {group for name, group in above.items() if group != name and group in above}
    return {key: names[key] for key in order}, frozenset(groups), remarks


def _images(content: Any, path: Path) -> Images:
    images = Images({}, [], [])
    seen: dict[str, str] = {}
    for entry, where in _entries(content, "images", path):
        key = _key(entry, "id", where)
        # Tools on Windows write the separators of their system.
        name = field(entry, "file_name", str, where).replace("\\", "/")
        if key in images.rows:
            if images.names[images.rows[key]] != name:
                raise UserError(f"{where}: has the id {key} of another image")
            continue
        if name in seen:
            raise UserError(f"{where}: lists {name!r}, which {seen[name]} lists under another id")
        seen[name] = where
        images.rows[key] = len(images.names)
        images.names.append(name)
        stated = [
            whole(entry, side, where) if entry.get(side) else 0 for side in ("height", "width")
        ]
        images.sizes.append(tuple(stated) if all(stated) else None)
    if not images.names:
        raise UserError(f"{path}: lists no image")
    return images


def _region(entry: dict[str, Any], size: tuple[int, int] | None, where: str) -> tuple | str:
    """Role and drawing of an annotation, or the reason why it is left out."""
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
    height, width = (whole({"size": side}, "size", where) for side in size)
    if isinstance(counts, list):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            counts = np.asarray(counts, np.int64) if set(map(type, counts)) == {int} else counts
    return functools.partial(_draw_runs, counts, (height, width))


def _draw_runs(counts: Any, stated: tuple[int, int], size: tuple[int, int]) -> Runs:
    if stated != size:
        raise ValueError(f"it is of size {list(stated)}, and its image {list(size)}")
    return coco_mask(counts, size)


def _polygons(segmentation: list, where: str) -> tuple[np.ndarray, ...]:
    """The polygons `[N, 2]` that have an area."""
    if segmentation and isinstance(segmentation[0], int | float):
        segmentation = [segmentation]  # one polygon, without the list of them
    polygons = []
    for points in segmentation:
        try:
            polygon = coordinates(points)
        except ValueError as error:
            raise UserError(f"{where}: a polygon cannot be used: {error}") from error
        if polygon.ndim == 2 and polygon.shape[1] == 2:  # pairs x, y
            polygon = polygon.ravel()
        if polygon.ndim != 1 or len(polygon) % 2:
            raise UserError(f"{where}: a polygon is no list of x, y, x, y, ...")
        if len(polygon) >= 6:  # fewer than three points have no area
            polygons.append(polygon.reshape(-1, 2))
    return tuple(polygons)


def _box(entry: dict[str, Any], where: str) -> np.ndarray | None:
    """The corners `[4, 2]` of an annotation's box; None where it has none of any area."""
    try:
        box = coordinates(entry.get("bbox") or (0, 0, 0, 0))
    except ValueError as error:
        raise UserError(f"{where}: 'bbox' cannot be used: {error}") from error
    if box.shape != (4,):
        raise UserError(f"{where}: 'bbox' is {entry['bbox']}; valid: left, top, width, height")
    return box_corners(*box) if (box[2:] > 0).all() else None


LAYOUT = annotated_layout(
    "COCO's JSON: config.data.annotations and .images, {split} in them is the split's name",
    parse,
    EXAMPLE,
    default_files=("_annotations.coco.json", "result.json", "annotations/instances_default.json"),
)
