"""Annotations and images in subfolders, and files of operating systems beside them."""

import json

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.sources.benchmarks.cityscapes import LAYOUT
from fcnjax.errors import UserError

SQUARE = {"label": "cat", "points": [[1, 1], [6, 6]], "shape_type": "rectangle"}


def write_labelme(root, *stems):
    for stem in stems:
        path = root / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path)
        content = {"shapes": [SQUARE], "imagePath": path.name, "imageData": None}
        path.with_suffix(".json").write_text(json.dumps(content))


def labelme_config(root, **data):
    config = default_config()
    set_data(config, source="labelme", root=str(root), **data)
    return config


def test_labelme_files_in_subfolders_are_grouped(tmp_path):
    write_labelme(tmp_path, "p1/a", "p1/b", "p2/a", "p3/a")
    write_labelme(tmp_path / "__MACOSX", "p1/a")
    (tmp_path / "p1/._a.json").write_bytes(b"\0\5\x16\7")
    config, notes = resolve(labelme_config(tmp_path, group_by=r"^(p\d)/"))
    counts = [len(open_source(config, part)) for part in ("train", "eval")]
    assert sum(counts) == 4
    assert f"{counts[0]} images to train on, {counts[1]} held out" in notes[0]
    (tmp_path / "train.txt").write_text("p1/a\np1/b.json\n")
    (tmp_path / "val.txt").write_text("p2/a\n")
    config, _ = resolve(labelme_config(tmp_path))
    source = open_source(config, "train")
    assert [source[i]["name"] for i in range(len(source))] == ["a", "b"]
    (tmp_path / "val.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"val\.txt, line 1: no file a\.json"):
        resolve(labelme_config(tmp_path))


def test_cityscapes_ignores_hidden_files(tmp_path):
    for split in ("train", "val"):
        for folder, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelTrainIds")):
            path = tmp_path / folder / split / "ulm" / f"ulm_0_0_{end}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    config = default_config()
    set_data(config, source="cityscapes", root=str(tmp_path), masks="labelTrainIds")
    assert "1 images to train on, 1 held out" in LAYOUT.resolve(config)[0]
