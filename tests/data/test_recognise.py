"""Errors about a folder with an annotation tool's export suggest arguments that read it."""

import json

import numpy as np
import pytest
from annotation_files import config_of, ls_task, picture, write_cvat, write_json
from PIL import Image

from fcnjax.data import resolve
from fcnjax.errors import UserError
from fcnjax.validate import check

POLYGON = [1, 1, 5, 1, 5, 4, 1, 4]
COCO = {
    "images": [
        {"id": i, "file_name": f"{n}.png", "height": 8, "width": 10} for i, n in enumerate("ab")
    ],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"image_id": 0, "category_id": 1, "segmentation": [POLYGON]}],
}
SHAPE = {"label": "cat", "points": [[1, 1], [5, 1], [5, 4]], "shape_type": "polygon"}
XML = (
    "<annotation><filename>{}.png</filename><object><name>cat</name><polygon>"
    "<pt><x>1</x><y>1</y></pt><pt><x>5</x><y>1</y></pt><pt><x>5</x><y>4</y></pt>"
    "</polygon></object></annotation>"
)


def labelme(folder):
    for stem in "ab":
        write_json(
            folder / f"{stem}.json", {"shapes": [SHAPE], "imagePath": f"../images/{stem}.png"}
        )


def roboflow(root):
    for split in ("train", "valid"):
        for stem in "ab":
            picture(root / split / f"{stem}.png")
        write_json(root / split / "_annotations.coco.json", COCO)


def label_studio(root):
    points = {"points": [[10, 10], [50, 10], [50, 50]], "polygonlabels": ["cat"]}
    result = {"original_width": 10, "original_height": 8, "value": points, "type": "polygonlabels"}
    write_json(root / "project-1.json", [ls_task(f"{stem}.png", result) for stem in "ab"])


def web(root):
    for stem in "ab":
        (root / f"{stem}.xml").write_text(XML.format(stem))


def via(root):
    shape = {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3}
    region = {"shape_attributes": shape, "region_attributes": {"label": "cat"}}
    images = {s: {"filename": f"{s}.png", "regions": [region]} for s in "ab"}
    write_json(root / "via.json", {"_via_settings": {}, "_via_img_metadata": images})


def follow(message, root):
    """Return the config of the arguments at the end of an error."""
    line = message.rpartition(": ")[2].rstrip(")").split()
    assert line[0].startswith("--config.data.source=")
    config = config_of("folder", root)
    for word in line:
        key, _, value = word.removeprefix("--config.data.").partition("=")
        config.data.update_from_flattened_dict({key: value})
    return config


BOX = '<box label="cat" xtl="1" ytl="1" xbr="5" ybr="4"/>'


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda root: write_cvat(root, {"a.png": BOX, "b.png": BOX}, ["cat"]), "is CVAT's XML"),
        (lambda root: write_json(root / "coco.json", COCO), "is COCO's JSON"),
        (lambda root: labelme(root / "labels"), "is LabelMe's JSON"),
        (web, "is LabelMe's XML"),
        (roboflow, "is Roboflow's COCO export"),
        (label_studio, "is Label Studio's JSON"),
        (via, "is VGG Image Annotator's JSON"),
    ],
)
def test_suggested_arguments_read_the_dataset(tmp_path, write, words):
    for stem in "ab":
        picture(tmp_path / f"images/{stem}.png")
    write(tmp_path)
    with pytest.raises(UserError) as raised:
        resolve(config_of("folder", tmp_path))
    message = str(raised.value)
    assert words in message
    assert "\n" not in message
    config = follow(message, tmp_path)
    assert resolve(config)[0].data.class_names == ("background", "cat")
    assert any(words in finding.text for finding in check(config_of("folder", tmp_path)).findings)


def test_label_studio_brush_masks_are_recognised(tmp_path):
    picture(tmp_path / "images/a.png")
    mask = Image.fromarray(np.zeros((8, 10), np.uint8))
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks/task-1-annotation-1-by-1-tag-cat-0.png")
    with pytest.raises(UserError, match=r"export the project as JSON: --config.data.source=labels"):
        resolve(config_of("folder", tmp_path))


def test_roboflow_masks_are_recognised(tmp_path):
    for split in ("train", "valid"):
        for stem in "ab":
            picture(tmp_path / split / f"{stem}.jpg")
            mask = Image.fromarray(np.arange(80, dtype=np.uint8).reshape(8, 10) % 2)
            mask.save(tmp_path / split / f"{stem}_mask.png")
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, other\n1, cat\n")
    with pytest.raises(UserError, match="Roboflow's list of mask values: ") as raised:
        resolve(config_of("folder", tmp_path))
    config = follow(str(raised.value), tmp_path)
    assert resolve(config)[0].data.class_names == ("other", "cat")


def test_chosen_source_is_not_suggested(tmp_path):
    for stem in "ab":
        picture(tmp_path / f"images/{stem}.png")
    write_json(tmp_path / "my annotations.json", COCO)
    words = "--config.data.source=coco --config.data.annotations='my annotations.json'"
    with pytest.raises(UserError, match=words):
        resolve(config_of("coco", tmp_path))
    with pytest.raises(UserError) as raised:
        resolve(config_of("coco", tmp_path, annotations="other.json"))
    assert "--config.data.source" not in str(raised.value)


def test_other_files_are_not_recognised(tmp_path):
    picture(tmp_path / "images/a.png")
    (tmp_path / "x.json").write_text(json.dumps({"a": [1]}))
    (tmp_path / "y.xml").write_text("<annotation><object><bndbox/></object></annotation>")
    with pytest.raises(UserError) as raised:
        resolve(config_of("folder", tmp_path))
    assert "config.data.source" not in str(raised.value)
