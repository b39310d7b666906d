"""Hostile annotations, lists and label maps give a one-line error in bounded time."""

import base64
import contextlib
import json
import os
import struct
import time
import zlib

import numpy as np
import pytest
from annotation_files import config_of, labels, ls_result, ls_task, picture, png, write_cvat

from fcnjax.data import resolve
from fcnjax.data.annotations import drawing_budget
from fcnjax.data.annotations.annotated import find_image
from fcnjax.data.annotations.xml_files import MAX_ATTRIBUTES, parse_xml
from fcnjax.data.labels.class_names import MAX_CLASSES
from fcnjax.data.labels.label_map_files import find_label_map
from fcnjax.data.splits.example import file_record
from fcnjax.data.splits.lists import read_names
from fcnjax.errors import UserError

SQUARE = [[1, 1], [6, 1], [6, 5], [1, 5]]
HUGE = 10**9  # an array of so many pixels squared cannot be made
NO_COORDINATES = (
    *(None, True, "x", "nan", "1e999", -1e300, 2**63, [], [1, 2], {}, "9" * 400),
    *(float("nan"), float("inf")),
)


def assert_error(config, *words):
    """Check that reading a dataset gives a one-line error in time."""
    begun = time.monotonic()
    with pytest.raises(UserError) as raised:
        labels(config)
    line = str(raised.value)
    assert time.monotonic() - begun < 10
    assert line.isprintable()
    assert len(line) <= 2000
    assert all(word in line for word in words), line
    return line


def read_or_refused(config):
    with contextlib.suppress(UserError):
        labels(config)


def coco(root, *shapes, **image):
    """COCO's JSON of two images; the first has these shapes."""
    names = ("a.png", "b.png")
    for name in names:
        picture(root / "images" / name)
    one = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    content = {
        "images": [{"id": i, "file_name": name, **image} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{**one, "segmentation": shape} for shape in shapes],
    }
    (root / "coco.json").write_text(json.dumps(content))
    return config_of("coco", root, annotations="coco.json")


def labelme(root, *shapes, **keys):
    for name in "ab":
        picture(root / f"{name}.png")
        content = {"imagePath": f"{name}.png", "shapes": list(shapes), **keys}
        (root / f"{name}.json").write_text(json.dumps(content))
    return config_of("labelme", root)


def labelstudio(root, *results):
    for name in "ab":
        picture(root / f"{name}.png")
    tasks = [ls_task(f"{name}.png", *results) for name in "ab"]
    (root / "project.json").write_text(json.dumps(tasks))
    return config_of("labelstudio", root)


def via(root, **shape):
    regions = [{"shape_attributes": shape, "region_attributes": {"label": "cat"}}]
    for name in "ab":
        picture(root / f"{name}.png")
    images = {name: {"filename": f"{name}.png", "regions": regions} for name in "ab"}
    (root / "via.json").write_text(json.dumps(images))
    return config_of("via", root, annotations="via.json")


def cvat(root, shapes):
    for name in "ab":
        picture(root / f"{name}.png")
    write_cvat(root, {f"{name}.png": shapes for name in "ab"})
    return config_of("cvat", root)


@pytest.mark.parametrize("side", [HUGE, -8])
def test_stated_size_allocates_no_memory(tmp_path, side):
    shape = {"size": [side, side], "counts": [side * side]}
    config = coco(tmp_path / "coco", [[1, 1, 6, 1, 6, 5]], shape, height=side, width=side)
    assert_error(config, f"is {side}x{side} pixels, and its image")
    assert_error(coco(tmp_path / "runs", shape), f"is of size [{side}, {side}], and its image")
    polygon = {"label": "cat", "points": SQUARE}
    config = labelme(tmp_path / "labelme", polygon, imageHeight=side, imageWidth=side)
    assert_error(config, f"is {side}x{side} pixels, and its image")
    result = ls_result("polygonlabels", {"points": SQUARE}, "cat", size=(side, side))
    assert_error(labelstudio(tmp_path / "ls", result))
    mask = f'<mask label="cat" left="0" top="0" width="{side}" height="{side}" rle="1"/>'
    assert_error(cvat(tmp_path / "cvat", mask), "pixels, and its image 10x8")


@pytest.mark.parametrize("value", NO_COORDINATES, ids=lambda value: str(value)[:9])
def test_invalid_coordinates_are_refused(tmp_path, value):
    """Invalid values in every coordinate of every tool."""
    points = [[value, 1], *SQUARE[1:]]
    read_or_refused(coco(tmp_path / "coco", [[value, 1, 6, 1, 6, 5]]))
    read_or_refused(coco(tmp_path / "coco", {"size": [value, 10], "counts": [80]}))
    read_or_refused(coco(tmp_path / "coco", {"size": [8, 10], "counts": [value, 80]}))
    for kind, count in {"polygon": 4, "circle": 2, "rectangle": 2, "point": 1}.items():
        shape = {"label": "cat", "shape_type": kind, "points": points[:count]}
        read_or_refused(labelme(tmp_path / "labelme", shape))
    read_or_refused(labelme(tmp_path / "labelme", shape, imageHeight=value, imageWidth=10))
    read_or_refused(labelme(tmp_path / "labelme", {**shape, "shape_type": value}))
    read_or_refused(labelme(tmp_path / "labelme", {**shape, "label": value}))
    for values in (
        {"points": points},
        {"x": 1, "y": 1, "width": value, "height": 2},
        {"x": 1, "y": 1, "width": 1, "height": 2, "rotation": value},
        {"x": 1, "y": 1, "radiusX": value, "radiusY": 2},
        {"rle": value},
        {"imageDataURL": value},
    ):
        result = ls_result("xlabels", values, "cat", id=value)
        read_or_refused(labelstudio(tmp_path / "ls", result))
    read_or_refused(via(tmp_path / "via", name="rect", x=value, y=1, width=2, height=2))
    read_or_refused(via(tmp_path / "via", name="ellipse", cx=1, cy=1, rx=2, ry=2, theta=value))
    read_or_refused(
        via(tmp_path / "via", name="polygon", all_points_x=[value, 1, 2], all_points_y=value)
    )
    text = str(value).replace('"', "")
    for shape in (
        f'<polygon label="cat" points="{text},1;6,1;6,5" z_order="{text}"/>',
        f'<ellipse label="cat" cx="{text}" cy="1" rx="2" ry="2"/>',
        f'<mask label="cat" left="{text}" top="0" width="1" height="1" rle="{text}"/>',
    ):
        read_or_refused(cvat(tmp_path / "cvat", shape))


def test_work_of_drawing_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing_budget, "MAX_STEPS", 3 * 10**6)  # in less time
    far = [[-9e4, -9e4, 9e4, -9e4, 9e4, 9e4, -9e4, 9e4] * 50]
    assert_error(coco(tmp_path / "far", far), "its border has", "steps; valid: at most")
    many = [[[-9e4, -9e4, 9e4, -9e4, 9e4, 9e4]]] * 100
    assert_error(coco(tmp_path / "many", *many), "the regions of the image up to here")
    circle = {"label": "cat", "shape_type": "circle", "points": [[0, 0], [7e4, 7e4]]}
    assert_error(
        labelme(tmp_path / "circles", *[circle] * 2000), "the regions of the image up to here"
    )
    zigzag = np.random.default_rng(0).uniform(-9e4, 9e4, (20_000, 2)).tolist()
    shape = {"label": "cat", "points": zigzag}
    assert_error(labelme(tmp_path / "zigzag", shape), "the regions of the image up to here")


def test_long_empty_runs(tmp_path):
    counts = [0] * 10**5 + [3, 5, 72]
    found = labels(coco(tmp_path, {"size": [8, 10], "counts": counts}))["b"]
    assert found.sum() == 5
    assert found[3:8, 0].all()


def bomb(height, width):
    """A PNG in base64 whose header claims a size, with one row of pixels."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0" * (width + 1)))
    content = b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")
    return base64.b64encode(content).decode()


def test_embedded_mask_larger_than_its_image_is_refused(tmp_path):
    shape = {"label": "cat", "shape_type": "mask", "points": [[0, 0], [19_999, 19_999]]}
    large = bomb(20_000, 20_000)
    assert_error(labelme(tmp_path / "mask", {**shape, "mask": large}), "may have 10x8")
    address = {"imageDataURL": f"data:image/png;base64,{large}"}
    config = labelstudio(tmp_path / "ls", ls_result("bitmasklabels", address, "cat"))
    assert_error(config, "is 20000x20000 pixels, and may have 10x8")
    eps = base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 8\n").decode()
    shape["points"] = [[0, 0], [9, 7]]
    assert_error(labelme(tmp_path / "eps", {**shape, "mask": eps}), "it is not a PNG")
    # A mask of a valid size is read from any kind of PNG.
    inside = np.zeros((2, 3), np.uint8)
    inside[0] = 200
    shape["points"] = [[1, 1], [3, 2]]
    for pixels in (inside, np.stack([inside] * 3, -1), inside.astype(np.uint16)):
        found = labels(labelme(tmp_path / "small", {**shape, "mask": png(pixels)}))["a"]
        assert found.sum() == 3
        assert found[1, 1:4].all()


def test_images_outside_the_folder_are_not_opened(tmp_path):
    """A name without its first folders could lead out of the folder of images."""
    for path in (tmp_path / "secret.png", tmp_path / "set" / "images" / "a.png"):
        picture(path)
    folder, file = tmp_path / "set" / "images", tmp_path / "set" / "coco.json"
    for name in ("x/y/../../secret.png", "x/y/z/../../../secret.png", "./../images/secret.png"):
        assert find_image(name, folder, file) == folder / name
    with pytest.raises(UserError, match="not a path inside"):
        find_image("x/../../../secret.png", folder, file)
    assert find_image("elsewhere/a.png", folder, file) == folder / "a.png"
    # Impossible file names count as missing.
    assert find_image("x/" * 1000 + "a.png", folder, file) == folder / "a.png"
    for name in ("a" * 5000, "a\0b", "\ud800"):
        with pytest.raises(UserError, match="not a path inside"):
            find_image(name, folder, file)
    assert_error(labelme(tmp_path / "labelme", imagePath="x" * 5000), "is not a path inside")
    assert_error(labelme(tmp_path / "labelme", imagePath=["a.png"]), "valid: a text")
    segment = f"<object><name>cat</name><segm><mask>{'x' * 5000}</mask></segm></object>"
    picture(tmp_path / "xml" / "a.png")
    for name in "ab":
        head = f"<filename>{name}.png</filename>"
        (tmp_path / f"xml/{name}.xml").write_text(f"<annotation>{head}{segment}</annotation>")
    assert_error(config_of("labelme", tmp_path / "xml"), "shape 1: no mask 'xxx")


XML_HEAD = '<?xml version="1.0" encoding="{}"?>'
BOMB = '<!DOCTYPE a [<!ENTITY x "xxx"><!ENTITY y "&x;&x;">]><a>&y;</a>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB.encode(), "declares a document type"),
        ((XML_HEAD.format("utf-16") + BOMB).encode("utf-16"), "is not XML in UTF-8"),
        ((XML_HEAD.format("utf-16") + BOMB).encode("utf-16-be"), "is not XML in UTF-8"),
        ((XML_HEAD.format("utf-7") + BOMB).encode("utf-7"), "declares a document type"),
        (b"<a>&x;</a>", "undefined entity"),
        (b"<a>\0</a>", "has a NUL"),
        (b"<a " + b" ".join(b'a%d=""' % i for i in range(2000)) + b"/>", f"than {MAX_ATTRIBUTES}"),
        (b"<a>" + b"<b/>" * 5_000_001 + b"</a>", "tags and attributes; valid: at most"),
    ],
    ids=["entities", "utf-16", "utf-16-be", "utf-7", "undefined", "nul", "attributes", "tags"],
)
def test_hostile_xml_is_refused(tmp_path, content, words):
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(UserError, match=words):
        parse_xml(path)
    assert time.monotonic() - begun < 5


def test_deep_xml_is_read_without_recursion(tmp_path):
    deep = "<labels>" * 100_000 + "</labels>" * 100_000
    config = cvat(tmp_path, f'<box label="cat" xtl="1" ytl="1" xbr="5" ybr="4"/>{deep}')
    assert labels(config)["a"].sum() == 12


def test_declared_xml_encodings_are_ignored(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(f"{XML_HEAD.format('iso-8859-1')}<a>\u00e9</a>", encoding="utf-8")
    assert parse_xml(path).text == "\u00e9"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("class_dict.csv", "name,r,g,b\ncat,1\n", "2 cells for 4 columns"),
        ("class_dict.csv", "name,r,g,b\n" + "a" * 200_000 + ",1,2,3\n", "is not CSV"),
        ("_classes.csv", "value,class\n" + "9" * 5000 + ",cat\n", "not a whole number"),
        ("_classes.csv", "value,class\n-1,cat\n", "not a whole number"),
        ("labelmap.txt", "cat:1,2,256::\n", "not a whole number from 0 to 255"),
        ("labelmap.txt", "cat:1,2,\u0663::\n", "not a whole number from 0 to 255"),
        ("label_colors.txt", "1 2 3\n", "is not an RGB colour"),
        ("obj_class_to_machine_color.json", "[" * 10_000, "nested too deeply"),
        ("obj_class_to_machine_color.json", '{"cat": "123"}', "123 is not an RGB colour"),
        ("obj_class_to_machine_color.json", '{"cat": [1, 2, 3.5]}', "'3.5' is not a whole number"),
        ("obj_class_to_machine_color.json", "[1]", "not an object"),
        ("meta.json", '{"classes": [{"title": 5, "color": "#000000"}]}', "valid: a text"),
        ("meta.json", '{"classes": [{"title": "a", "color": null}]}', "valid: a text"),
        ("classes.txt", "a\n" * 2, "two classes of the name a"),
        ("classes.txt", "a" * 300, "has 300 characters; valid: at most"),
        ("classes.txt", "\n".join(map(str, range(10**5))), f"valid: at most {MAX_CLASSES}"),
    ],
)
def test_invalid_label_maps_are_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    begun = time.monotonic()
    with pytest.raises(UserError, match=words) as raised:
        find_label_map([tmp_path])
    assert str(raised.value).isprintable()
    assert time.monotonic() - begun < 5


def test_control_characters_in_class_names_are_escaped(tmp_path):
    """On a terminal, `ESC [ 2 J` would clear the screen."""
    config = coco(tmp_path, [[1, 1, 6, 1, 6, 5]])
    text = (tmp_path / "coco.json").read_text().replace('"cat"', '"\\u001b[2J\\u202ecat"')
    (tmp_path / "coco.json").write_text(text)
    resolved, notes = resolve(config)
    assert resolved.data.class_names == ("background", "\\x1b[2J\\u202ecat")
    assert all(note.isprintable() for note in notes)
    # The name in the file still finds the class.
    assert labels(config)["b"].any()
    (tmp_path / "classes.txt").write_text("none\n\x1b]0;title\x07cat\n")
    assert find_label_map([tmp_path]).entries[1].name == "\\x1b]0;title\\x07cat"


def test_fifos_are_refused_without_blocking(tmp_path):
    fifo = tmp_path / "train.txt"
    os.mkfifo(fifo)
    with pytest.raises(UserError, match="not a regular file"):
        read_names(fifo)
    assert file_record(fifo, limit=100).size == -1
    with pytest.raises(UserError, match="not a regular file"):
        read_names(type(fifo)("/dev/zero"))
    config = coco(tmp_path / "coco", [[1, 1, 6, 1, 6, 5]])
    (tmp_path / "coco/coco.json").unlink()
    os.mkfifo(tmp_path / "coco/coco.json")
    assert_error(config, "coco.json: no such file")
