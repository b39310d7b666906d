"""XML files of LabelMe 3.0, the web tool, as exported by it and by CVAT."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fcnjax.data.annotations.xml_files import parse_xml, text_of
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import first_file


def read_xml(path: Path) -> dict[str, Any]:
    """Read a LabelMe 3.0 file; the result has the keys of a LabelMe JSON file.

    A mask is a shape of the type `mask` with the path of its PNG as `mask_file`. Deleted objects
    are left out.

    Raises:
        UserError: It cannot be read or is not LabelMe XML.
    """
    root = parse_xml(path)
    if root.tag != "annotation":
        raise UserError(f"{path}: is not LabelMe XML: it starts with <{root.tag}>")
    objects = root.findall("object")
    if objects and all(o.find("polygon") is None and o.find("segm") is None for o in objects):
        boxes = " (only boxes, as in Pascal VOC)" if objects[0].find("bndbox") is not None else ""
        raise UserError(f"{path}: no object has a <polygon> or <segm>{boxes}")
    shapes = [
        _shape(item, path, f"{path}, shape {number}")
        for number, item in enumerate(objects, start=1)
        if text_of(item, "deleted") not in ("1", "true")
    ]
    return {
        "shapes": shapes,
        "imagePath": text_of(root, "filename"),
        "imageHeight": text_of(root, "imagesize/nrows") or None,
        "imageWidth": text_of(root, "imagesize/ncols") or None,
    }


def _shape(item: ElementTree.Element, path: Path, where: str) -> dict[str, Any]:
    name = text_of(item, "name")
    polygon, segment = item.find("polygon"), item.find("segm")
    if polygon is not None:
        points = [[text_of(point, "x"), text_of(point, "y")] for point in polygon.iter("pt")]
        kind = {1: "point", 2: "line"}.get(len(points), "polygon")
        return {"label": name, "shape_type": kind, "points": points}
    if segment is None:
        raise UserError(f"{where}: has neither <polygon> nor <segm>")
    corners = [
        [text_of(segment, f"box/{axis}{end}") or "0" for axis in "xy"] for end in ("min", "max")
    ]
    mask = _mask_file(path, text_of(segment, "mask"), where)
    return {"label": name, "shape_type": "mask", "points": corners, "mask_file": str(mask)}


def _mask_file(path: Path, name: str, where: str) -> Path:
    """Return the PNG of a mask, in the folder `Masks` beside the XML file or beside its folder."""
    folders = (path.parent / "Masks", path.parent.parent / "Masks" / path.parent.name)
    # By name only, since CVAT and LabelMe write no folders.
    file = first_file(folder / Path(name).name for folder in folders) if name else None
    if file is None:
        raise UserError(f"{where}: no mask {name!r} in {folders[0]}")
    return file
