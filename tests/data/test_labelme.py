import base64
import io
import json
import pickle

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error, read_names
from PIL import Image
from stamped import assert_stamped

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve

SIZE = (7, 9)


def png(array):
    """Encode an array as a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def shape(label, kind, *points, **more):
    return {"label": label, "shape_type": kind, "points": [list(p) for p in points], **more}


CAT = shape("cat", "rectangle", (1, 1), (2, 2))


def write(root, shapes=(), stem="a", value=1, **content):
    """Write a LabelMe file and its image of one value."""
    image = np.full((*SIZE, 3), value, np.uint8)
    Image.fromarray(image).save(root / f"{stem}.png")
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": f"{stem}.png",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
        **content,
    }
    (root / f"{stem}.json").write_text(json.dumps(content, indent=1))
    return root


def config_of(root, **data):
    config = default_config()
    set_data(config, source="labelme", root=str(root))
    set_data(config, data)
    return config


def read(root, stem="a", **data):
    """Return the example of a name from either split."""
    config, _ = resolve(config_of(root, **data))
    for part in ("train", "eval"):
        source = open_source(config, part)
        for i in range(len(source)):
            if source[i]["name"] == stem:
                return source[i]
    raise AssertionError(stem)


def drawn(tmp_path, *shapes, **data):
    write(tmp_path, shapes)
    write(tmp_path, [CAT], "b")
    return read(tmp_path, **data)["label"]


def picture(text):
    """Parse a mask from text: a line for each row, `.` for 0, `i` for 255."""
    rows = text.split()
    return np.array([[255 if c == "i" else int(c.replace(".", "0")) for c in row] for row in rows])


PICTURES = {
    "polygon": (
        shape("cat", "polygon", (1, 1), (5, 1), (5, 4), (1, 4)),
        "......... .11111... .11111... .11111... .11111... ......... .........",
    ),
    "old files do not say that it is a polygon": (
        shape("cat", None, (2, 1), (2, 5), (6, 5)),
        "......... ..1...... ..11..... ..111.... ..1111... ..11111.. .........",
    ),
    "polygon outside": (
        shape("cat", "polygon", (-30, -9), (2, -9), (2, 3), (-30, 3)),
        "111...... 111...... 111...... 111...... ......... ......... .........",
    ),
    "rectangle from below": (
        shape("cat", "rectangle", (7, 4), (5, 2)),
        "......... ......... .....111. .....111. .....111. ......... .........",
    ),
    "rectangle outside": (
        shape("cat", "rectangle", (7, 5), (70, 50)),
        "......... ......... ......... ......... ......... .......11 .......11",
    ),
    "oriented_rectangle": (
        shape("cat", "oriented_rectangle", (4, 1), (6, 3), (4, 5), (2, 3)),
        "......... ....1.... ...111... ..11111.. ...111... ....1.... .........",
    ),
    "rectangle of four corners": (  # of X-AnyLabeling; equals LabelMe's of two corners
        shape("cat", "rectangle", (2, 1), (5, 1), (5, 3), (2, 3)),
        "......... ..1111... ..1111... ..1111... ......... ......... .........",
    ),
    "rectangle of four corners, between pixels": (
        shape("cat", "rectangle", (1.6, 1.2), (1.6, 3.4), (5.3, 3.4), (5.3, 1.2)),
        "......... .11111... .11111... .11111... ......... ......... .........",
    ),
    "rotated rectangle of four corners": (
        shape("cat", "rectangle", (4, 1), (6, 3), (4, 5), (2, 3)),
        "......... ....1.... ...111... ..11111.. ...111... ....1.... .........",
    ),
    "rotation": (
        shape("cat", "rotation", (4, 1), (6, 3), (4, 5), (2, 3), direction=0.78),
        "......... ....1.... ...111... ..11111.. ...111... ....1.... .........",
    ),
    "quadrilateral": (
        shape("cat", "quadrilateral", (1, 1), (6, 1), (4, 4), (1, 4)),
        "......... .111111.. .11111... .11111... .1111.... ......... .........",
    ),
    "circle": (
        shape("cat", "circle", (4, 3), (4, 5)),
        "......... ...111... ..11111.. ..11111.. ..11111.. ...111... .........",
    ),
    "line": (
        shape("cat", "line", (1, 1), (4, 4)),
        "......... .1....... ..1...... ...1..... ....1.... ......... .........",
    ),
    "linestrip": (
        shape("cat", "linestrip", (1, 5), (1, 2), (4, 2)),
        "......... ......... .1111.... .1....... .1....... .1....... .........",
    ),
    "point": (
        shape("cat", "point", (8, 6)),
        "......... ......... ......... ......... ......... ......... ........1",
    ),
    "mask": (
        shape("cat", "mask", (2, 1), (4, 2), mask=png(np.array([[1, 0, 1], [0, 1, 0]], bool))),
        "......... ..1.1.... ...1..... ......... ......... ......... .........",
    ),
    "mask of grey levels, over the edge": (
        shape("cat", "mask", (-1, 5), (1, 7), mask=png(np.full((3, 3), 255, np.uint8))),
        "......... ......... ......... ......... ......... 11....... 11.......",
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_shapes(tmp_path, name):
    entry, text = PICTURES[name]
    np.testing.assert_array_equal(drawn(tmp_path, entry), picture(text))


def test_later_shapes_are_drawn_over_earlier_ones(tmp_path):
    label = drawn(
        tmp_path,
        shape("dog", "rectangle", (0, 0), (6, 5)),
        shape("cat", "rectangle", (1, 1), (5, 4)),
        shape("__ignore__", "rectangle", (4, 3), (8, 6)),
        shape("_background_", "rectangle", (2, 2), (3, 3)),
    )
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(
        label,
        picture("2222222.. 2111112.. 21..112.. 21..iiiii 2111iiiii 2222iiiii ....iiiii"),
    )


def test_classes_are_the_sorted_labels(tmp_path):
    zoo = [shape(name, "point", (0, 0)) for name in ("zebra", "__ignore__", "_background_", "ant")]
    write(tmp_path, zoo)
    write(tmp_path, [CAT], "b")
    config, notes = resolve(config_of(tmp_path))
    assert config.data.class_names == ("background", "ant", "cat", "zebra")
    assert notes == [f"{tmp_path}: 1 images to train on, 1 held out; 4 labels"]
    assert resolve(config)[0] == config


def test_chosen_and_merged_classes(tmp_path):
    shapes = [shape(name, "point", (x, 0)) for x, name in enumerate(("dog", "cat", "cow"))]
    chosen = ("__ignore__", "_background_", "cow", "yak", "dog", "cat")
    assert drawn(tmp_path, *shapes, class_names=chosen)[0, :4].tolist() == [3, 4, 1, 0]
    merged = (("dog", "pet"), ("cat", "pet"), ("cow", ""))
    row = drawn(tmp_path, *shapes, label_map=merged, ignore_label=9)[0]
    assert row[:4].tolist() == [1, 1, 9, 0]
    assert_error(
        config_of(tmp_path, class_names=("cat", "dogs", "cow")),
        "a.json, shape 1: label: unknown 'dog' (did you mean 'dogs'?); valid: __ignore__, back",
    )


def test_classes_of_another_source_are_matched_by_name(tmp_path):
    write(tmp_path, [CAT])
    write(tmp_path, [CAT], "b")
    row = read(tmp_path, class_names=("background", "dog", "cat"), mask_values=(0, 100, 200))
    assert row["label"][1].tolist() == [0, 2, 2, 0, 0, 0, 0, 0, 0]


def test_images_beside_the_file_and_embedded(tmp_path):
    (tmp_path / "images").mkdir()
    for stem, value in zip("abc", (10, 20, 30), strict=True):
        write(tmp_path, [CAT], stem, value)
    (tmp_path / "a.png").rename(tmp_path / "images/a.png")
    write(tmp_path, [CAT], "a", imagePath="images\\a.png")
    (tmp_path / "a.png").unlink()
    embedded = np.zeros((*SIZE, 3), np.uint8)
    embedded[2, 3] = 77, 88, 99
    write(tmp_path, [CAT], "b", imageData=png(embedded), imageHeight=None, imageWidth=None)
    (tmp_path / "b.png").unlink()
    assert (read(tmp_path, "a")["image"] == 10).all()
    np.testing.assert_array_equal(read(tmp_path, "b")["image"], embedded)
    assert (read(tmp_path, "c")["image"] == 30).all()
    config, _ = resolve(config_of(tmp_path, channels="L"))
    source = pickle.loads(pickle.dumps(open_source(config, "train")))
    assert [source.size(i) for i in range(len(source))] == [SIZE] * len(source)
    assert source[0]["image"].shape == (*SIZE, 1)


def test_splits(tmp_path):
    for stem in "abcde":
        write(tmp_path, [CAT], stem)
    config, _ = resolve(config_of(tmp_path, eval_fraction=0.4))
    assert len(read_names(config, "train")) == 3
    assert sorted(read_names(config, "train") + read_names(config, "eval")) == list("abcde")
    (tmp_path / "train.txt").write_text("c\n\na.json\n")
    assert_error(config_of(tmp_path), "val.txt: no such file")
    (tmp_path / "val.txt").write_text("e\nc\n")
    config, notes = resolve(config_of(tmp_path))
    assert read_names(config, "train") == ["c", "a"]
    assert read_names(config, "eval") == ["e", "c"]
    assert "1 images are in both splits" in notes[1]
    assert len(read_names(resolve(config_of(tmp_path, split_by="fraction"))[0], "train")) == 4
    (tmp_path / "val.txt").write_text("e\nx\n")
    assert_error(config_of(tmp_path), "val.txt, line 2: no file x.json")
    assert_error(
        config_of(tmp_path, split_by="folder"), "config.data.split.by", "auto, fraction, list"
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (shape("cat", "rectangle", (1, 1)), ["shape 1: the rectangle has 1 points; valid: 2 or 4"]),
        (shape("cat", "polygon", (1, 1), (2, 2)), ["the polygon has 2 points; valid: 3 or more"]),
        (shape("cat", "star", (1, 1)), ["shape 1: shape_type: unknown 'star'", "linestrip"]),
        (shape("cat", "point", (1, 1e9)), ["shape 1: 'points' cannot be used"]),
        (shape("cat", "point", (1, 2, 3)), ["shape 1: 'points' cannot be used"]),
        (shape("cat", "point", ("x", 2)), ["shape 1: 'points' cannot be used"]),
        ({"label": "cat"}, ["a.json, shape 1: has no 'points'"]),
        ({"points": []}, ["a.json, shape 1: has no 'label'"]),
        (shape("cat", "mask", (1, 1), (2, 2)), ["a.json, shape 1: has no 'mask'"]),
        (
            shape("cat", "mask", (1, 1), (2, 2), mask="AAAA"),
            ["'mask' cannot be read: it is"],
        ),
        (
            shape("cat", "mask", (1, 1), (2, 2), mask=png(np.ones((3, 2), bool))),
            ["shape 1: the mask is 2x3 pixels, and its points span 2x2"],
        ),
    ],
)
def test_bad_shapes(tmp_path, entry, words):
    write(tmp_path, [entry])
    write(tmp_path, [CAT], "b")
    assert_error(config_of(tmp_path), *words)


def test_rectangle_of_four_corners_equals_that_of_two(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(6):
        (x0, x1), (y0, y1) = rng.uniform(0, 9, 2), rng.uniform(0, 7, 2)
        two = drawn(tmp_path, shape("cat", "rectangle", (x0, y0), (x1, y1)))
        corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        np.testing.assert_array_equal(drawn(tmp_path, shape("cat", "rectangle", *corners)), two)


def test_shapes_without_area_are_counted(tmp_path):
    cuboid = shape("car", "cuboid", *[(1, 1)] * 8)
    write(tmp_path, [CAT, cuboid, cuboid])
    write(tmp_path, [CAT, shape("cat", "points", (1, 1), (2, 2))], "b")
    config, notes = resolve(config_of(tmp_path))
    assert config.data.class_names == ("background", "cat")
    assert "shapes without pixels are left out: 2 of car (cuboid), 1 of cat (points)" in notes[1]
    assert read(tmp_path)["label"].sum() == 4
    write(tmp_path, [CAT, shape("cat", "ellipse", (1, 1), (2, 2))] * 3, "b")
    assert_error(
        config_of(tmp_path), "b.json, shape 2: shape_type (3 shapes have this type): unknown"
    )


def test_files_of_other_tools_and_versions(tmp_path):
    more = {"group_id": None, "flags": {}, "difficult": False, "attributes": {}, "kie_linking": []}
    write(tmp_path, [{**CAT, **more, "score": 0.9, "mask": None}], imageHeight="7", imageWidth=9.0)
    write(tmp_path, [CAT], "b", imagePath="C:\\photos\\b.png", imageHeight=None)
    assert read(tmp_path)["label"].sum() == 4
    assert read(tmp_path, "b")["label"].sum() == 4
    (tmp_path / "images").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "images/b.png")
    assert read(tmp_path, "b")["label"].sum() == 4


def test_missing_images_are_skipped_with_on_error(tmp_path):
    for stem in "abcdefgh":
        write(tmp_path, [CAT], stem)
    (tmp_path / "c.png").unlink()
    (tmp_path / "e.json").write_text("{")
    options = {"on_error": "skip", "skip_most": 0.5}
    _, notes = resolve(config_of(tmp_path, **options))
    assert "2 cannot be read and will be skipped:" in notes[1]
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert_error(config_of(tmp_path, **options), "no image")


@pytest.mark.parametrize("drawn_on", ["stored", "turned"])
def test_photographs_with_an_exif_orientation(tmp_path, drawn_on):
    """The sizes reveal the pixels it was drawn on; LabelMe shows the rotated image."""
    exif = Image.Exif()
    exif[0x112] = 6  # stored as 7x9, and shown as 9x7
    write(tmp_path, [CAT], "b")
    height, width = SIZE if drawn_on == "stored" else SIZE[::-1]
    write(
        tmp_path, [shape("cat", "rectangle", (4, 1), (5, 1))], imageHeight=height, imageWidth=width
    )
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "a.png", exif=exif)
    example = read(tmp_path)
    assert example["image"].shape == (9, 7, 3)
    expected = np.zeros((9, 7), int)
    if drawn_on == "stored":
        expected[4:6, 5] = 1  # x, y becomes column 6 - y, row x
    else:
        expected[1, 4:6] = 1
    np.testing.assert_array_equal(example["label"], expected)


XML = """<annotation>
<filename>{stem}.png</filename><folder>x</folder>
<source><sourceImage></sourceImage><sourceAnnotation>Datumaro</sourceAnnotation></source>
<imagesize><nrows>7</nrows><ncols>9</ncols></imagesize>
{objects}
</annotation>"""


def web_object(name, inner, deleted=0):
    return f"<object><name>\n{name}\n</name><deleted>{deleted}</deleted>{inner}</object>"


def web_polygon(*points):
    text = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    return f"<polygon>{text}<username></username></polygon>"


def test_xml_of_labelme_3(tmp_path):
    """LabelMe's web tool and CVAT's export `LabelMe 3.0`: polygons, boxes and masks."""
    for stem in "ab":
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / f"{stem}.png")
    whole = np.zeros(SIZE, np.uint8)
    whole[5:, 6:] = 255
    (tmp_path / "Masks").mkdir()
    Image.fromarray(whole).save(tmp_path / "Masks/a_mask_0.png")
    box = "<box><xmin>6</xmin><ymin>5</ymin><xmax>9</xmax><ymax>7</ymax></box>"
    objects = [
        web_object("cat", web_polygon((1, 1), (4, 1), (4, 3), (1, 3))),
        web_object("dog", f"<segm>{box}<mask>a_mask_0.png</mask></segm>"),
        web_object("yak", web_polygon((0, 0), (8, 0), (8, 6)), deleted=1),
    ]
    (tmp_path / "a.xml").write_text(XML.format(stem="a", objects="".join(objects)))
    (tmp_path / "b.xml").write_text(XML.format(stem="b", objects=objects[0]))
    expected = picture("......... .1111.... .1111.... .1111.... ......... ......222 ......222")
    np.testing.assert_array_equal(read(tmp_path)["label"], expected)
    config, _ = resolve(config_of(tmp_path))
    assert config.data.class_names == ("background", "cat", "dog")
    (tmp_path / "b.xml").write_text(XML.format(stem="b", objects=web_object("x", "<bndbox/>")))
    assert_error(
        config_of(tmp_path), "b.xml: no object has a <polygon> or <segm> (only boxes, as in Pa"
    )
    (tmp_path / "b.xml").write_text("<!DOCTYPE a []><annotation/>")
    assert_error(config_of(tmp_path), "b.xml: declares a document type")
    (tmp_path / "Masks/a_mask_0.png").write_bytes(b"x")
    (tmp_path / "b.xml").write_text(XML.format(stem="b", objects=objects[0]))
    assert_error(config_of(tmp_path), "a.xml, shape 2: ", "cannot be read: it is not a PNG")
    (tmp_path / "Masks/a_mask_0.png").unlink()
    assert_error(config_of(tmp_path), "a.xml, shape 2: no mask 'a_mask_0.png' in")
    write(tmp_path, [CAT])
    write(tmp_path, [CAT], "b")
    _, notes = resolve(config_of(tmp_path))
    assert "has .json files, so its 2 .xml files are left out" in notes[1]


def test_bad_files(tmp_path):
    assert_error(config_of(""), "config.data.root: '' is not a folder")
    assert_error(config_of(tmp_path), "has no LabelMe file")
    write(tmp_path, [CAT])
    assert_error(config_of(tmp_path), "1 image cannot be split")
    write(tmp_path, [CAT], "b")
    (tmp_path / "b.png").unlink()
    assert_error(
        config_of(tmp_path), "b.json: no image:", "b.png is no file, and 'imageData' is empty"
    )
    write(tmp_path, [CAT], "b", imageHeight=3)
    assert_error(config_of(tmp_path), "b.json: is 9x3 pixels", "b.png is 9x7")
    write(tmp_path, [CAT], "b", imageData="AAAA", imagePath="")
    assert_error(config_of(tmp_path), "b.json: imageData: cannot be read as an image")
    write(tmp_path, [CAT], "b", imageData="A", imagePath="")
    assert_error(config_of(tmp_path), "b.json: 'imageData' is not an image in base64")
    (tmp_path / "b.json").write_text('{"shapes": [],\n\n "imagePath" 3}')
    assert_error(config_of(tmp_path), "b.json, line 3: is not JSON: Expecting ':'")
    (tmp_path / "b.json").write_text("{}")
    assert_error(config_of(tmp_path), "b.json: has no 'shapes'")
    write(tmp_path)
    write(tmp_path, [], "b")
    assert_error(config_of(tmp_path), "has no class beside the background")


def test_changed_files_are_detected(tmp_path):
    for stem in "abc":
        write(tmp_path, [shape("car", "rectangle", (0, 0), (3, 3))], stem)
    config = config_of(tmp_path, eval_fraction=0.3)
    (held_out,) = read_names(resolve(config)[0], "eval")
    stem = next(stem for stem in "abc" if stem != held_out)
    (image,) = (path for path in tmp_path.rglob(f"{stem}.*") if path.suffix != ".json")
    assert_stamped(config, tmp_path / f"{stem}.json", image)
