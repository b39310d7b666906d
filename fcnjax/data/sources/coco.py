"""COCO's JSON (Lin et al., ECCV 2014): polygons and run lengths, an object each.

`config.data.annotations` and `.images` may have `{split}` in them, as
`annotations/instances_{split}2017.json` and `{split}2017`. An annotations file without it holds all
images, and a part is held out by `config.data.eval_fraction`. Class 0 is the background, then come
the categories by their id, or those that `config.data.class_names` names; others are background.

The label is drawn when it is read: smaller objects over larger ones, and crowds are ignored where
no object is. The file's own size of an image is taken; its boxes and areas are not used.
"""

import contextlib
import functools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.annotations import (
    FARTHEST,
    annotations_file,
    field,
    parse_json,
    read_text,
    refuse_missing,
)
from fcnjax.data.decode import read_image
from fcnjax.data.example import Example, content_digest, example_of
from fcnjax.data.layout import PARTS, Layout, require_root
from fcnjax.data.lists import hold_out, refuse_folds
from fcnjax.data.named import NamedClasses, name_classes
from fcnjax.data.pairs import refuse_sizes
from fcnjax.errors import UserError
from fcnjax.files import inside, stamps

EXAMPLE = "annotations/instances_{split}2017.json"
_LOCK = threading.Lock()


class Region(NamedTuple):
    """An object or a crowd.

    Attributes:
        place: Its number in the list `annotations`.
        category: Its category's name.
        crowd: Whether it is a crowd.
        shape: Polygons, each float64 `[2 * points]`, x before y; or run lengths, as in the file.
    """

    place: int
    category: str
    crowd: bool
    shape: tuple[np.ndarray, ...] | dict[str, Any]


@dataclass(frozen=True)
class Index:
    """What a file of annotations says, in a small part of the memory that its JSON takes.

    Attributes:
        categories: Their names, by their id.
        names: The image files.
        sizes: Height and width of each image.
        regions: The regions of each image.
    """

    categories: tuple[str, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    regions: tuple[list[Region], ...]


def read_index(path: Path) -> Index:
    """Reads a file of annotations, once a process, less those of images it does not list.

    Raises:
        UserError: It cannot be read, or is not COCO's; names the entry.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    with _LOCK:  # several threads of a worker ask at once
        return _parse(path, changed)


@functools.lru_cache(maxsize=4)
def _parse(path: Path, changed: int) -> Index:
    del changed  # another key where the file is another
    content = parse_json(read_text(path), path, hook=_less)
    categories = _categories(_entries(content, "categories", path))
    rows, names, sizes = {}, [], []
    for entry, where in _entries(content, "images", path):
        key = field(entry, "id", (int, str), where)
        if key in rows:
            raise UserError(f"{where}: has the id {key} of another image")
        rows[key] = len(names)
        names.append(field(entry, "file_name", str, where))
        sizes.append((field(entry, "height", int, where), field(entry, "width", int, where)))
    if not names:
        raise UserError(f"{path}: lists no image")
    regions = tuple([] for _ in names)
    for place, (entry, where) in enumerate(_entries(content, "annotations", path)):
        row = rows.get(field(entry, "image_id", (int, str), where))
        category = field(entry, "category_id", int, where)
        if category not in categories:
            raise UserError(f"{where}: has the category {category}, which the file does not list")
        if row is not None and entry.get("segmentation"):
            shape = _shape(field(entry, "segmentation", (list, dict), where), where)
            crowd = bool(entry.get("iscrowd"))
            regions[row].append(Region(place, categories[category], crowd, shape))
    if content["annotations"] and not any(regions):
        raise UserError(f"{path}: has boxes only; each annotation needs a 'segmentation'")
    return Index(tuple(categories.values()), tuple(names), tuple(sizes), regions)


def _less(entry: dict[str, Any]) -> dict[str, Any]:
    """An object of the file in less memory: lists of numbers take the most of it, by far."""
    polygons = entry.get("segmentation")
    if isinstance(polygons, list):
        # What is no list of numbers stays, for the error that names its place.
        with contextlib.suppress(TypeError, ValueError):
            entry["segmentation"] = [np.asarray(polygon, np.float64) for polygon in polygons]
    entry.pop("bbox", None)
    return entry


def _entries(content: Any, key: str, path: Path) -> Iterator[tuple[Any, str]]:
    """The entries of a list of the file, each with its place, for an error."""
    for place, entry in enumerate(field(content, key, list, str(path))):
        yield entry, f"{path}, {key}[{place}]"


def _categories(entries: Iterable[tuple[Any, str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for entry, where in entries:
        key, name = field(entry, "id", int, where), field(entry, "name", str, where)
        if key in found or name in found.values():
            raise UserError(f"{where}: has the id or the name of another: {key}, {name!r}")
        found[key] = name
    return dict(sorted(found.items()))


def _shape(segmentation: list | dict, where: str) -> tuple[np.ndarray, ...] | dict[str, Any]:
    if isinstance(segmentation, dict):
        counts = field(segmentation, "counts", (list, str), where)
        return {"size": field(segmentation, "size", list, where), "counts": counts}
    polygons = []
    for points in segmentation:
        try:
            polygon = np.asarray(points, np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: a polygon is no list of numbers") from error
        if polygon.ndim != 1 or len(polygon) % 2:
            raise UserError(f"{where}: a polygon is no list of x, y, x, y, ...")
        if not (np.abs(polygon) < FARTHEST).all():
            raise UserError(f"{where}: a polygon has a point more than {FARTHEST:.0f} pixels away")
        if len(polygon) >= 6:  # fewer than three points have no area
            polygons.append(polygon)
    return tuple(polygons)


def _mask_tools() -> ModuleType:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise UserError(
            "config.data.source: coco needs pycocotools: pip install 'fcnjax[coco]'"
        ) from error
    return mask


def region_mask(region: Region, size: tuple[int, int], where: str) -> np.ndarray:
    """The pixels `[H, W]` bool of a region; what lies outside the image is cut off.

    Args:
        region: The region.
        size: Height and width of the image.
        where: Names the region in an error.

    Raises:
        UserError: Its run lengths are not of the image's size.
    """
    tools, shape = _mask_tools(), region.shape
    if isinstance(shape, tuple):
        if not shape:
            return np.zeros(size, bool)
        runs = tools.merge(tools.frPyObjects([polygon.tolist() for polygon in shape], *size))
        return tools.decode(runs).astype(bool)
    if tuple(shape["size"]) != size:
        raise UserError(f"{where}: is of size {shape['size']}, and its image {list(size)}")
    try:
        counts = shape["counts"]
        if isinstance(counts, str):
            runs = {"size": shape["size"], "counts": counts.encode()}
        elif sum(counts) == size[0] * size[1]:
            runs = tools.frPyObjects(shape, *size)
        else:
            raise ValueError(f"they sum to {sum(counts)}, not {size[0] * size[1]}")
        return tools.decode(runs).astype(bool)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where}: has broken run lengths: {error}") from error


class CocoSource:
    """The images of a file of annotations.

    A copy for a worker holds the file's name, and reads it again when it is first asked.

    Args:
        file: The annotations.
        folder: The images.
        data: `config.data`, resolved.
        rows: Which images of the file, by their place; None: all.
    """

    def __init__(
        self, file: Path, folder: Path, data: ConfigDict, rows: Sequence[int] | None = None
    ):
        _mask_tools()
        self.class_names = tuple(data.class_names)
        self._file = file
        self._folder = folder
        self._root = Path(data.root)
        self._channels = data.channels
        self._pages = data.pages
        self._classes = NamedClasses(data)
        rows = range(len(read_index(file).names)) if rows is None else rows
        self._rows = np.asarray(rows, np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, as the file says."""
        return read_index(self._file).sizes[self._rows[index]]

    def stamps(self) -> list[tuple]:
        """Of the annotations and the images."""
        names = read_index(self._file).names
        return stamps([self._file, *(self._folder / names[row] for row in self._rows)])

    def examples(self) -> list[Example]:
        """The identity of each example: its image, and a digest of its own annotations."""
        index = read_index(self._file)
        return [
            example_of(
                self._root,
                (self._folder / index.names[row],),
                digest=content_digest(
                    index.sizes[row], [(r.category, r.crowd, r.shape) for r in index.regions[row]]
                ),
            )
            for row in self._rows.tolist()
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        known, row = read_index(self._file), self._rows[index]
        path = inside(self._folder, known.names[row], self._file)
        image = read_image(path, self._channels, self._pages)
        refuse_sizes(path, image.shape[:2], self._file, known.sizes[row])
        label = self._draw(known.regions[row], known.sizes[row])
        return {"image": image, "label": label, "name": path.stem}

    def _draw(self, regions: Sequence[Region], size: tuple[int, int]) -> np.ndarray:
        label = np.zeros(size, self._classes.dtype)
        objects = []
        for region in regions:
            where = f"{self._file}, annotations[{region.place}]"
            pixels = region_mask(region, size, where)
            # A category that is no class is background.
            value = self._classes.get(region.category) or 0
            if not region.crowd:
                objects.append((pixels, value))
            elif value:
                label[pixels] = self._classes.ignore
        for pixels, value in sorted(objects, key=lambda item: -int(item[0].sum())):
            label[pixels] = value
        return label


def _files(data: ConfigDict, part: str) -> tuple[Path, Path]:
    """The annotations and the folder of images of `train` or `eval`."""
    split = data[f"{part}_split"]
    folder = Path(data.root) / data.images.replace("{split}", split)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; config.data.images names it")
    return annotations_file(data, split, EXAMPLE), folder


def _open(config: ConfigDict, part: str) -> CocoSource:
    data, rows = config.data, None
    file, folder = _files(data, part)
    if "{split}" not in data.annotations:
        names = read_index(file).names
        rows = hold_out(range(len(names)), data, names)[part]
    else:
        refuse_folds(data, "by chance, and config.data.annotations has a file for each split")
    return CocoSource(file, folder, data, rows)


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    require_root(data)
    categories: dict[str, None] = {}
    for part in PARTS:
        file, folder = _files(data, part)
        index = read_index(file)
        categories |= dict.fromkeys(index.categories)
        refuse_missing((inside(folder, name, file), str(file)) for name in index.names)
    name_classes(data, categories, known=True)
    counts = [len(_open(config, part)) for part in PARTS]
    return [f"{data.root}: {counts[0]} images to train on, {counts[1]} held out"]


LAYOUT = Layout(
    "COCO's JSON: config.data.annotations and .images, {split} in them is the split's name",
    _resolve,
    _open,
    divides=True,
)
