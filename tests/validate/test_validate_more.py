"""More sets of sorts that users have: what is beside two classes, one mask for all, and lists."""

import cv2
import numpy as np
from validation_sets import assert_right, config_of, draw, find, kinds, labels_of, pasted, write

from fcnjax.validate import ERROR, WARNING, check


def test_grey_between_black_and_white_is_ignored(tmp_path):
    def encode(label):
        edge = cv2.dilate(label, np.ones((3, 3), np.uint8)) != label
        return np.where(edge, 128, label * 255).astype(np.uint8)

    write(tmp_path, encode, classes=2)
    options = ["--config.data.class_names=ground,disc"]
    found = find(check(config_of(tmp_path, *options)).findings, "values outside the classes", ERROR)
    assert (
        found.line
        == "--config.data.labels.mask_values=0,255 --config.data.labels.ignore_values=128"
    )
    label = labels_of(pasted(tmp_path, found, *options))["p2"]
    np.testing.assert_array_equal(label == 1, draw(2, 2)[1] == 1)


def test_mixed_1_and_255_masks(tmp_path):
    whites = iter([1, 255, 255, 1, 1, 255, 1, 1, 255, 1])
    write(tmp_path, lambda label: label * np.uint8(next(whites)), classes=2)
    found = find(check(config_of(tmp_path)).findings, "encoding", WARNING)
    assert "6 masks hold 1 and 4 others 255" in found.text
    fixed = pasted(tmp_path, found)
    assert_right(fixed, classes=2)
    assert kinds(check(fixed).findings, ERROR, WARNING) == set()


def test_distant_value_is_proposed_as_ignored(tmp_path):
    write(tmp_path, lambda label: np.where(np.arange(80) == 5, 100, label).astype(np.uint8))
    found = find(check(config_of(tmp_path)).findings, "encoding", ERROR)
    assert "100 is far from the others" in found.text
    label = labels_of(pasted(tmp_path, found))["p2"]
    np.testing.assert_array_equal(label, np.where(np.arange(80) == 5, 255, draw(2)[1]))


def test_equal_masks(tmp_path):
    write(tmp_path, lambda label: draw(3)[1])
    found = find(check(config_of(tmp_path)).findings, "equal masks", WARNING)
    assert found.text.startswith("10 of 10 images have the same mask")


def listed(root, *more):
    """The set as a list has it, and options that say so."""
    rows = [
        f"images/{part}/p{i}.png,masks/{part}/p{i}.png,{part}"
        for part, numbers in (("train", range(7)), ("val", range(7, 10)))
        for i in numbers
    ]
    (root / "list.csv").write_text("\n".join(["image,mask,split", *rows, *more]), encoding="utf-8")
    return ["--config.data.source=listing", "--config.data.annotations=list.csv"]


def test_listing_is_checked_like_folders(tmp_path):
    options = listed(write(tmp_path, lambda label: label + 1))
    found = find(check(config_of(tmp_path, *options)).findings, "encoding", WARNING)
    assert found.overrides == ("--config.data.labels.mask_values=1,2,3",)
    assert_right(pasted(tmp_path, found, *options))
    options = listed(tmp_path, "images/gone.png,masks/train/p1.png,train")
    findings = check(config_of(tmp_path, *options)).findings
    assert "line 12: no such file" in find(findings, "cannot be opened", ERROR).text
    assert "unreadable files" not in kinds(findings, ERROR)
    find(findings, "encoding", WARNING)
