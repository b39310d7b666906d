"""Files of annotation tools, read with every example of their dataset."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.mutations import JSON
from tests.fuzz.read_set import set_reader
from tests.fuzz.target import Target
from tests.fuzz.xml_mutations import XML

SQUARE = [[1, 1], [6, 1], [6, 5], [1, 5]]
MASK = np.eye(8, 10, dtype=np.uint8) * 255


def _images(folder: Path, count: int = 4) -> list[str]:
    """Write images of 8x10 pixels; return their names."""
    names = [f"{number}.png" for number in range(1, count + 1)]
    for number, name in enumerate(names, start=1):
        Image.fromarray(np.full((8, 10, 3), number, np.uint8)).save(folder / name)
    return names


def _png(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _make_coco(folder: Path) -> list[Path]:
    shapes = (
        [[1, 1, 6, 1, 6, 5, 1, 5]],
        {"size": [8, 10], "counts": [12, 3, 5, 3, 57]},
        {"size": [8, 10], "counts": "<350d1"},
        [],
    )
    images = [
        {"id": number, "file_name": name, "height": 8, "width": 10}
        for number, name in enumerate(_images(folder), start=1)
    ]
    annotations = [
        {
            "id": number,
            "image_id": number // 2 + 1,
            "category_id": 1 + number % 2,
            "segmentation": shapes[number % 4],
            "bbox": [1, 1, 5, 4],
            "area": 20,
            "iscrowd": number % 3 // 2,
        }
        for number in range(8)
    ]
    categories = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return [_written(folder / "coco.json", content)]


def _make_labelme(folder: Path) -> list[Path]:
    kinds = {"polygon": 4, "rectangle": 2, "circle": 2, "line": 2, "point": 1, "rotation": 4}
    shapes: list[dict[str, Any]] = [
        {"label": "cat", "shape_type": kind, "points": SQUARE[:count]}
        for kind, count in kinds.items()
    ]
    mask = {"label": "dog", "shape_type": "mask", "points": [[1, 1], [3, 3]]}
    shapes += [{**mask, "mask": _png(MASK[:3, :3])}, {"label": "__ignore__", "points": SQUARE}]
    content = {"shapes": shapes, "imageHeight": 8, "imageWidth": 10, "imageData": None}
    files = []
    for name in _images(folder):
        files.append(_written(folder / f"{name[0]}.json", {**content, "imagePath": name}))
    picture = _png(np.zeros((8, 10, 3), np.uint8))
    within = {**content, "imagePath": "none.png", "imageData": picture}
    return [*files[:1], _written(folder / "within.json", within)]


def _make_labelme_xml(folder: Path) -> list[Path]:
    (folder / "Masks").mkdir()
    Image.fromarray(MASK).save(folder / "Masks" / "mask.png")
    corners = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in SQUARE)
    box = "<box><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>7</ymax></box>"
    objects = (
        f"<object><name>cat</name><deleted>0</deleted><polygon>{corners}</polygon></object>"
        f"<object><name>dog</name><segm>{box}<mask>mask.png</mask></segm></object>"
    )
    size = "<imagesize><nrows>8</nrows><ncols>10</ncols></imagesize>"
    return [
        _written(
            folder / f"{name[0]}.xml",
            f"<annotation><filename>{name}</filename>{size}{objects}</annotation>",
        )
        for name in _images(folder)
    ]


def _make_cvat(folder: Path) -> list[Path]:
    shapes = (
        '<polygon label="cat" points="1,1;6,1;6,5" z_order="0"/>'
        '<box label="dog" xtl="1" ytl="1" xbr="5" ybr="4" rotation="10"/>'
        '<ellipse label="dog" cx="4" cy="4" rx="3" ry="2"/>'
        '<mask label="cat" left="1" top="1" width="3" height="3" rle="1,2,3,1,2"/>'
        '<points label="cat" points="1,1"/>'
    )
    images = "".join(
        f'<image id="{name[0]}" name="{name}" subset="train" width="10" height="8">{shapes}</image>'
        for name in _images(folder)
    )
    labels = "<labels><label><name>cat</name></label><label><name>dog</name></label></labels>"
    meta = f"<meta><task>{labels}</task></meta>"
    return [_written(folder / "annotations.xml", f"<annotations>{meta}{images}</annotations>")]


def _make_labelstudio(folder: Path) -> list[Path]:
    values = (
        {"points": [[1, 1], [60, 1], [60, 60]], "polygonlabels": ["cat"]},
        {"x": 1, "y": 1, "width": 40, "height": 40, "rotation": 10, "rectanglelabels": ["dog"]},
        {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "ellipselabels": ["dog"]},
        {"format": "rle", "rle": _brush(), "brushlabels": ["cat"]},
        {"imageDataURL": f"data:image/png;base64,{_png(MASK)}", "bitmasklabels": ["cat"]},
        {"x": 1, "y": 2, "width": 1, "keypointlabels": ["dog"]},
    )
    size = {"original_width": 10, "original_height": 8, "image_rotation": 0}
    results = [{"id": f"r{i}", "value": value, **size} for i, value in enumerate(values)]
    tasks = [
        {
            "id": int(name[0]),
            "data": {"image": f"/data/upload/1/0123abcd-{name}"},
            "annotations": [{"id": 1, "updated_at": "2020", "result": results}],
        }
        for name in _images(folder)
    ]
    return [_written(folder / "project.json", tasks)]


def _brush() -> list[int]:
    """Return Label Studio's run lengths of a mask with only its first pixel set."""
    header = f"{320:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    runs = "".join(f"111{length - 1:016b}{value:08b}" for length, value in ((4, 255), (316, 0)))
    bits = header + runs
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def _make_via(folder: Path) -> list[Path]:
    shapes = (
        {"name": "polygon", "all_points_x": [1, 6, 6], "all_points_y": [1, 1, 5]},
        {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3},
        {"name": "circle", "cx": 4, "cy": 4, "r": 2},
        {"name": "ellipse", "cx": 4, "cy": 4, "rx": 3, "ry": 2, "theta": 0.3},
        {"name": "point", "cx": 1, "cy": 1},
    )
    regions = [
        {"shape_attributes": shape, "region_attributes": {"label": label}}
        for shape in shapes
        for label in ("cat", "dog")
    ]
    images = {f"{name}1": {"filename": name, "regions": regions} for name in _images(folder)}
    return [_written(folder / "via.json", {"_via_img_metadata": images})]


TARGETS = [
    Target("coco", _make_coco, set_reader("coco", annotations="coco.json", images="."), JSON),
    Target("labelme", _make_labelme, set_reader("labelme", images="."), JSON),
    Target("labelme-xml", _make_labelme_xml, set_reader("labelme", images="."), XML),
    Target("cvat", _make_cvat, set_reader("cvat", images="."), XML),
    Target(
        "labelstudio",
        _make_labelstudio,
        set_reader("labelstudio", annotations="project.json", images="."),
        JSON,
    ),
    Target("via", _make_via, set_reader("via", annotations="via.json", images="."), JSON),
]
