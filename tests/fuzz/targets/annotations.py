"""Files of annotation tools, read with every example of their set."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.mutations import JSON
from tests.fuzz.read_set import set_reader
from tests.fuzz.target import Target


def _make_coco(folder: Path) -> list[Path]:
    shapes = (
        [[1, 1, 6, 1, 6, 5, 1, 5]],
        {"size": [8, 10], "counts": [12, 3, 5, 3, 57]},
        {"size": [8, 10], "counts": "<35d0"},
    )
    images, annotations = [], []
    for number in range(1, 7):
        Image.fromarray(np.full((8, 10, 3), number, np.uint8)).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 8, "width": 10})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1 + number % 2,
                "segmentation": shapes[number % 2],
                "bbox": [1, 1, 5, 4],
                "area": 20,
                "iscrowd": 0,
            }
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return [path]


TARGETS = [
    Target("coco", _make_coco, set_reader("coco", annotations="coco.json", images="."), JSON),
]
