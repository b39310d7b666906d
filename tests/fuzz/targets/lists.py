"""Lists of files and label maps, read with every example of their dataset."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.mutations import JSON, TEXT
from tests.fuzz.read_set import set_reader
from tests.fuzz.target import Target

IDS = np.eye(8, 10, dtype=np.uint8)
COLOURS = np.stack([IDS * 255, IDS * 0, IDS * 0], -1)
# The text of each file, and whether the masks hold colours.
LABEL_MAPS = {
    "labelmap.txt": ("# label:color_rgb:parts:actions\nnone:0,0,0::\ncat:255,0,0::\n", True),
    "label_colors.txt": ("0 0 0 none\n255 0 0 cat\n", True),
    "class_dict.csv": ("name,r,g,b\nnone,0,0,0\ncat,255,0,0\n", True),
    "_classes.csv": ("Pixel Value, Class\n0, none\n1, cat\n", False),
    "obj_class_to_machine_color.json": ('{"none": [0, 0, 0], "cat": [255, 0, 0]}', True),
    "meta.json": (
        '{"classes": [{"title": "none", "color": "#000000"}, '
        '{"title": "cat", "color": "#FF0000"}]}',
        True,
    ),
    "classes.txt": ("none\ncat\n", False),
}


def _pairs(folder: Path, masks: np.ndarray) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name in "abcd":
        Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(masks).save(folder / "masks" / f"{name}.png")


def _make_label_maps(folder: Path) -> list[Path]:
    files = []
    for number, (name, (text, coloured)) in enumerate(LABEL_MAPS.items()):
        _pairs(folder / str(number), COLOURS if coloured else IDS)
        files.append(folder / str(number) / name)
        files[-1].write_text(text)
    return files


def _make_lists(folder: Path) -> list[Path]:
    _pairs(folder, IDS)
    rows = [
        {"image": f"images/{name}.png", "mask": f"masks/{name}.png", "split": split}
        for name, split in zip("abcd", ("train", "val") * 2, strict=True)
    ]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    texts = {
        "list.csv": "\n".join(lines),
        "list.json": json.dumps(rows),
        "list.jsonl": "\n".join(map(json.dumps, rows)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def _read_list(path: Path) -> None:
    set_reader("listing", annotations=path.name)(path)


def _make_names(folder: Path) -> list[Path]:
    _pairs(folder, IDS)
    texts = {"train.txt": "a\nb.png\n", "val.txt": "c\nd\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def _make_voc(folder: Path) -> list[Path]:
    _pairs(folder, IDS)
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "masks").rename(folder / "SegmentationClass")
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text('a\n"b"\n')
    (lists / "val.txt").write_text("c\nd\n")
    (folder / "labelmap.txt").write_text(LABEL_MAPS["labelmap.txt"][0])
    return [lists / "train.txt", lists / "val.txt"]


TARGETS = [
    Target("label-map", _make_label_maps, set_reader("folder"), (*JSON, *TEXT)),
    Target("list", _make_lists, _read_list, (*JSON, *TEXT)),
    Target("split-list", _make_names, set_reader("folder"), TEXT),
    Target("voc", _make_voc, set_reader("voc", depth=3), TEXT),
]
