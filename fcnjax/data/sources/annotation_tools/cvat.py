"""CVAT XML, "CVAT for images 1.1": polygons, boxes, ellipses and painted masks.

The file is `config.data.annotations`, or `annotations.xml` in `config.data.root`. Images lie in
`config.data.images`, possibly in a folder for each subset, or beside the file. Class 0 is the
background, followed by the labels of the task in their order.

Shapes are drawn by `z_order`, then in the order of the file. Points, polylines, cuboids and
skeletons have no area: they are counted and left out. The images of a project are split by their
subsets if `config.data.split.train` and `.split.eval` name two of them.
"""

import functools
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from fcnjax.data.annotations.annotated import OBJECT, Index, Region
from fcnjax.data.annotations.annotated_layout import annotated_layout
from fcnjax.data.annotations.points import number_of, points_of
from fcnjax.data.annotations.polygons import box_corners, ellipse_mask, union_mask
from fcnjax.data.annotations.run_lengths import cvat_mask
from fcnjax.data.annotations.runs import Runs, from_mask
from fcnjax.data.annotations.xml_files import parse_xml, text_of
from fcnjax.data.sources.annotation_tools.image_names import check_unique_images, portable_path
from fcnjax.errors import UserError
from fcnjax.io.json_files import int_field

UNDRAWN = ("points", "polyline", "cuboid", "skeleton")
_NO_AREA = ("tag", "points", "skeleton")  # types of labels without an area


def parse(path: Path) -> Index:
    """Parse a file of annotations.

    Raises:
        UserError: It cannot be read or is not CVAT XML for images; names the image.
    """
    root = parse_xml(path)
    if root.tag != "annotations":
        raise UserError(f"{path}: is not CVAT XML: it starts with <{root.tag}>")
    if root.find("track") is not None:
        raise UserError(
            f"{path}: is in the format 'CVAT for video'; export the task as 'CVAT for images 1.1'"
        )
    images = root.findall("image")
    names, sizes, regions = [], [], []
    left_out: Counter = Counter()
    number = 0
    for image in images:
        where = f"{path}, image {image.get('name')!r}"
        names.append(_image_name(image, where))
        sizes.append(tuple(int_field(image.attrib, side, where) for side in ("height", "width")))
        drawn = []
        for shape in image:
            number += 1
            if shape.tag in UNDRAWN:
                left_out[f"drawn as {shape.tag}, without an area,", shape.get("label", "")] += 1
            elif shape.tag in _DRAWN:
                order = _number(shape, "z_order", where) if shape.get("z_order") else 0
                drawn.append((order, _region(shape, number, where)))
        regions.append([region for _, region in sorted(drawn, key=lambda item: item[0])])
    check_unique_images(path, names)
    labels = [
        text_of(label, "name")
        for label in root.iterfind("meta//labels/label")
        if not text_of(label, "parent") and text_of(label, "type") not in _NO_AREA
    ]
    used = [region.category for each in regions for region in each]
    subsets = tuple(image.get("subset", "") for image in images)
    return Index(
        tuple(dict.fromkeys([*labels, *used])),
        tuple(names),
        tuple(sizes),
        tuple(regions),
        entry="shape {}",
        splits=subsets if any(subsets) else (),
        left_out=left_out,
    )


def _image_name(image: ElementTree.Element, where: str) -> str:
    """Return the file of an image, in the folder of its subset."""
    name = portable_path(image.get("name") or "")
    if not name:
        raise UserError(f"{where}: has no 'name'")
    subset = image.get("subset")
    return f"{subset}/{name}" if subset and "/" not in subset else name


def _number(shape: ElementTree.Element, key: str, where: str) -> float:
    try:
        return number_of(shape.attrib, key)
    except ValueError as error:
        raise UserError(f"{where}: a {shape.tag}: {error}") from error


def _region(shape: ElementTree.Element, number: int, where: str) -> Region:
    if not shape.get("label"):
        raise UserError(f"{where}: a {shape.tag} has no 'label'")
    draw = _DRAWN[shape.tag](shape, where)
    return Region(number, shape.get("label").strip(), OBJECT, draw)


def _polygon(shape: ElementTree.Element, where: str) -> functools.partial:
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
    try:
        points = points_of(pairs, min_count=3)
    except ValueError as error:
        raise UserError(f"{where}: a polygon, x,y;x,y;..., is damaged: {error}") from error
    return functools.partial(union_mask, (points,))


def _rotation(shape: ElementTree.Element, where: str) -> float:
    return _number(shape, "rotation", where) if shape.get("rotation") else 0.0


def _box(shape: ElementTree.Element, where: str) -> functools.partial:
    left, top, right, bottom = (_number(shape, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = box_corners(left, top, right - left, bottom - top, _rotation(shape, where))
    return functools.partial(union_mask, (corners,))


def _ellipse(shape: ElementTree.Element, where: str) -> functools.partial:
    x, y, rx, ry = (_number(shape, key, where) for key in ("cx", "cy", "rx", "ry"))
    return functools.partial(ellipse_mask, (x, y), (rx, ry), _rotation(shape, where))


def _mask(shape: ElementTree.Element, where: str) -> functools.partial:
    left, top, width, height = (
        int_field(shape.attrib, key, f"{where}: a mask")
        for key in ("left", "top", "width", "height")
    )
    return functools.partial(_draw_mask, shape.get("rle", ""), (left, top), (height, width))


def _draw_mask(
    runs: str, corner: tuple[int, int], mask_size: tuple[int, int], size: tuple[int, int]
) -> Runs:
    height, width = mask_size
    if not (0 <= height <= size[0] and 0 <= width <= size[1]):
        raise ValueError(f"the mask is {width}x{height} pixels, and its image {size[1]}x{size[0]}")
    return from_mask(cvat_mask(runs, mask_size), *corner, size)


_DRAWN = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}

LAYOUT = annotated_layout(
    "CVAT XML, 'CVAT for images 1.1': annotations.xml, and images in config.data.images",
    parse,
    "annotations.xml",
    default_files=("annotations.xml", "*.xml"),
)
