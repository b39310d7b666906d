import json
import pickle

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error, read_names
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve

SIZE = (6, 5)


def write(root, stems="abcde"):
    """Write images `x/STEM.png` of one value and masks `y/STEM_m.png` with 1 in that row."""
    for folder in ("x", "y"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(stems):
        Image.fromarray(np.full((*SIZE, 3), number, np.uint8)).save(root / f"x/{stem}.png")
        Image.fromarray(mask_of(number)).save(root / f"y/{stem}_m.png")
    return root


def mask_of(number):
    mask = np.zeros(SIZE, np.uint8)
    mask[number] = 1
    return mask


def write_csv(root, text, name="list.csv"):
    (root / name).write_bytes(text.encode())


ROWS = "".join(f"x/{s}.png,y/{s}_m.png\n" for s in "abcde")


def config_of(root, annotations="list.csv", **data):
    config = default_config()
    config.data.source = "listing"
    config.data.root = str(root)
    config.data.annotations = annotations
    set_data(config, data)
    return config


def test_labels_match_the_images(tmp_path):
    write_csv(write(tmp_path), "\ufeffimage, mask ,note\r\n" + ROWS.replace("\n", ",hi\r\n"))
    config, notes = resolve(config_of(tmp_path))
    assert "4 images to train on, 1 held out; masks hold 0, 1: 2 classes" in notes[0]
    seen = []
    for part in ("train", "eval"):
        source = pickle.loads(pickle.dumps(open_source(config, part)))
        assert source.class_names == ("background", "foreground")
        for i in range(len(source)):
            example = source[i]
            number = int(example["image"][0, 0, 0])
            np.testing.assert_array_equal(example["label"], mask_of(number))
            assert source.size(i) == SIZE
            seen.append(number)
    assert sorted(seen) == list(range(5))
    assert resolve(config)[0] == config


def test_fraction_equals_that_of_the_folder_source(tmp_path):
    write_csv(write(tmp_path), "image,mask\n" + ROWS)
    for stem in "abcde":
        (tmp_path / f"y/{stem}_m.png").rename(tmp_path / f"y/{stem}.png")
    write_csv(tmp_path, "image,mask\n" + ROWS.replace("_m", ""))
    for seed in range(4):
        listing = config_of(tmp_path, split_seed=seed, eval_fraction=0.4)
        folder = config_of(tmp_path, split_seed=seed, eval_fraction=0.4)
        set_data(folder, source="folder", images="x", masks="y")
        assert read_names(resolve(listing)[0], "eval") == read_names(resolve(folder)[0], "eval")


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_splits_in_the_list(tmp_path, kind):
    write(tmp_path)
    splits = {"a": "val", "b": "train", "c": "test", "d": "train", "e": "val"}
    rows = [{"image": f"x/{s}.png", "mask": f"y/{s}_m.png", "split": v} for s, v in splits.items()]
    text = {
        "csv": "split,image,mask\n\n"
        + "".join(f"{r['split']},{r['image']},{r['mask']}\n" for r in rows),
        "json": json.dumps(rows, indent=1),
        "jsonl": "\n\n".join(map(json.dumps, rows)),
    }[kind]
    write_csv(tmp_path, text, f"list.{kind}")
    config, _ = resolve(config_of(tmp_path, f"list.{kind}"))
    assert read_names(config, "train") == ["b", "d"]
    assert read_names(config, "eval") == ["a", "e"]
    config, _ = resolve(config_of(tmp_path, f"list.{kind}", split_eval="test"))
    assert read_names(config, "eval") == ["c"]
    assert_error(config_of(tmp_path, f"list.{kind}", split_eval="tst"), "split.eval", "'test'?")
    config, _ = resolve(config_of(tmp_path, f"list.{kind}", split_by="fraction"))
    assert len(read_names(config, "train")) == 4


def test_paths_without_a_root(tmp_path, monkeypatch):
    write_csv(write(tmp_path / "set"), "image,mask\n" + ROWS)
    monkeypatch.chdir(tmp_path)
    config, _ = resolve(config_of("", "set/list.csv"))
    monkeypatch.chdir(tmp_path / "set")
    assert config.data.root == str(tmp_path / "set")
    assert len(read_names(config, "train")) == 4
    write_csv(tmp_path, "image,mask\n" + ROWS, "elsewhere.csv")
    config, _ = resolve(config_of(tmp_path / "set", str(tmp_path / "elsewhere.csv")))
    assert len(read_names(config, "train")) == 4
    rows = ROWS.replace("x/", f"{tmp_path}/set/x/").replace("y/", f"{tmp_path}/set/y/")
    write_csv(tmp_path, "image,mask\n" + rows, "absolute.csv")
    config, _ = resolve(config_of("", str(tmp_path / "absolute.csv")))
    assert len(read_names(config, "train")) == 4


def test_image_in_both_splits_is_reported(tmp_path):
    write_csv(
        write(tmp_path),
        "image,mask,split\nx/a.png,y/a_m.png,train\nx/b.png,y/b_m.png,train\n"
        "x/a.png,y/a_m.png,val\n",
    )
    _, notes = resolve(config_of(tmp_path))
    assert "1 images are in both splits" in notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,masks\n" + ROWS, ["list.csv, line 1: has no column 'mask'; has image, masks"]),
        ("image;mask\nx;y\n", ["list.csv, line 1: has no column 'image'; has image;mask"]),
        ("", ["list.csv: lists no image"]),
        ("image,mask\n", ["list.csv: lists no image"]),
        ("image,mask\n" + ROWS + "x/f.png,y/a_m.png\n", ["line 7: no such file", "x/f.png"]),
        ("image,mask\nx/a.png,no/a_m.png\n" + ROWS, ["line 2: no such file", "no/a_m.png"]),
        ("image,mask\nx/a.png\n", ["list.csv, line 2: has 1 cells for 2 columns"]),
        ("image,mask\n\nx/a.png,y,z\n", ["list.csv, line 3: has 3 cells for 2 columns"]),
        ("image,mask\n\nx/a.png, \n", ["list.csv, line 3: 'mask' is empty"]),
        ("image,mask,split\nx/a.png,y/a_m.png,\n", ["line 2: 'split' is empty"]),
        ('image,mask\n"x/a.png"b,y/a_m.png\n', ["list.csv, line 2: is not CSV"]),
        ("image,mask\nx/a.png,y/a_m.png\n", ["1 image cannot be split"]),
    ],
)
def test_bad_csv(tmp_path, text, words):
    write_csv(write(tmp_path), text)
    assert_error(config_of(tmp_path), *words)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("list.json", '[\n {"image": "x/a.png",\n "mask" 3}]', ["list.json, line 3: is not JSON"]),
        ("list.json", '{"images": []}', ["list.json: is not a list of objects"]),
        ("list.json", "[]", ["list.json: lists no image"]),
        ("list.json", '["x/a.png"]', ["list.json, item 1: is not an object"]),
        ("list.json", '[{"image": "x/a.png"}]', ["list.json, item 1: has no 'mask'"]),
        ("list.json", '[{"image": 3, "mask": "y"}]', ["item 1: 'image' is '3'; valid: a text"]),
        ("list.jsonl", '{"image": "x/a.png", "mask": "y/a_m.png"}\n{', ["list.jsonl, line 2: is"]),
        (
            "list.jsonl",
            '{"image": "x/a.png", "mask": "y/a_m.png", "split": "train"}\n'
            '{"image": "x/b.png", "mask": "y/b_m.png"}',
            ["list.jsonl, line 2: has no 'split'"],
        ),
        ("list.txt", "", ["list.txt: the file's suffix: unknown '.txt'", ".csv, .json, .jsonl"]),
    ],
)
def test_bad_json(tmp_path, name, text, words):
    write_csv(write(tmp_path), text, name)
    assert_error(config_of(tmp_path, name), *words)


def test_bad_settings(tmp_path):
    write_csv(write(tmp_path), "image,mask\n" + ROWS)
    assert_error(config_of(tmp_path, ""), "config.data.annotations: names no file")
    assert_error(config_of(tmp_path, "no.csv"), "no.csv: no such file; config.data.annotations")
    assert_error(config_of(tmp_path / "no"), "no/list.csv: no such file")
    assert_error(config_of(tmp_path, split_by="list"), "list.csv: has no 'split'")
    assert_error(
        config_of(tmp_path, split_by="folder"), "config.data.split.by", "auto, fraction, list"
    )
    (tmp_path / "list.csv").write_bytes(b"image,mask\n\xff\xfe\n")
    assert_error(config_of(tmp_path), "list.csv: cannot be read as text")
    write_csv(tmp_path, "image,mask\n" + ROWS)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "y/c_m.png")
    assert_error(config_of(tmp_path), "y/c_m.png: is 4x3 pixels", "x/c.png is 5x6")
