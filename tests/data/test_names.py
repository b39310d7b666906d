"""Names of classes and files in different Unicode forms and spellings."""

import os
import unicodedata

import numpy as np
import pytest
from folder_config import folder_config
from PIL import Image

from fcnjax import cli
from fcnjax.data import open_source, resolve
from fcnjax.data.files.folders import find_existing
from fcnjax.data.labels.class_names import class_name
from fcnjax.errors import UserError, printable

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def write(root, image_names, mask_names):
    for folder, names in (("images", image_names), ("masks", mask_names)):
        (root / folder).mkdir(parents=True)
        for i, name in enumerate(names):
            pixels = np.full((40, 40), i, np.uint8)
            pixels[:20] = folder == "masks"
            pixels = pixels if folder == "images" else np.where(pixels == 1, 1, 0).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{name}.png")
    return root


def read_set(root, *words):
    config, _ = resolve(folder_config(root, *words))
    source = open_source(config, "train")
    return config.data, [source[i] for i in range(len(source))]


def test_names_are_normalised():
    for name in ("cat", " cat", "cat\u00a0", "\ufeffcat", "cat\n"):
        assert class_name(name) == "cat"
    assert class_name("wild  cat ") == "wild cat"
    assert class_name(NFD) == NFC
    assert class_name("_background_ ") == "background"
    assert class_name("Cat") == "Cat"


def test_config_names_are_normalised_and_compared(tmp_path):
    root = write(tmp_path, "abc", "abc")
    data, _ = read_set(root, "class_names=('ground ',' cat')", "labels.label_map=(('cat ','dog'),)")
    assert data.class_names == ("ground", "dog")
    with pytest.raises(UserError) as raised:
        read_set(root, "class_names=('cat','Cat','dog')")
    message = str(raised.value)
    assert "'cat' and 'Cat' differ only in case" in message
    assert """--config.data.labels.label_map='(("Cat","cat"),)'""" in message
    data, _ = read_set(root, "class_names=('cat','Cat','dog')", 'labels.label_map=(("Cat","cat"),)')
    assert data.class_names == ("cat", "dog")
    with pytest.raises(UserError, match="has an entry twice"):
        read_set(root, "class_names=('cat','cat ')")


def test_files_pair_across_unicode_forms(tmp_path):
    root = write(tmp_path, [NFD, "b", "c"], [NFC, "b", "c"])
    (root / "train.txt").write_text(f"{NFC}\nb\n", encoding="utf-8")
    (root / "val.txt").write_text("c\n")
    assert len(read_set(root)[1]) == 2
    (root / "list.csv").write_text(
        f"image,mask\nimages/{NFC}.png,masks/{NFD}.png\nimages/b.png,masks/b.png\n",
        encoding="utf-8",
    )
    words = ("source=listing", "annotations=list.csv", "split.eval_fraction=0.5")
    assert len(read_set(root, *words)[1]) == 1
    assert find_existing(root / f"images/{NFC}.png").name == f"{NFD}.png"
    assert find_existing(root / f"images/{NFC}x.png").name == f"{NFC}x.png"


def test_names_in_other_encodings_than_utf_8(tmp_path, capsys):
    names = [os.fsdecode(b"caf\xe9%d" % i) for i in range(4)]
    try:
        root = write(tmp_path / os.fsdecode(b"s\xe9t"), names, names)
    except OSError:
        pytest.skip("this file system has no such names")
    _, examples = read_set(root)
    assert all(e["name"].startswith("caf\\udce9") for e in examples)
    assert printable(names[0]) == "caf\\udce90"
    argv = ["data", "check", str(root), "--config.augment.crop=32,32"]
    assert cli.main([*argv, f"--out={tmp_path / 'page'}"]) == 0
    assert "udce9" in (tmp_path / "page/index.html").read_text(encoding="utf-8")
    capsys.readouterr()
