import numpy as np
import pytest
from annotation_files import config_of, examples, grid, labels, picture, row_runs, write_cvat
from stamped import assert_stamped

from fcnjax.data import resolve
from fcnjax.errors import UserError

BOX = '<box label="dog" occluded="0" xtl="1.00" ytl="1.00" xbr="5.00" ybr="4.00" z_order="0"/>'
POLYGON = (
    '<polygon label="cat" points="3.00,2.00;8.00,2.00;8.00,6.00;3.00,6.00" z_order="1"></polygon>'
)


def mask(array, left, top, label="cat"):
    height, width = array.shape
    return (
        f'<mask label="{label}" source="manual" occluded="0" rle="{row_runs(array)}" left="{left}" '
        f'top="{top}" width="{width}" height="{height}" z_order="0"/>'
    )


@pytest.fixture
def two(tmp_path):
    """Write a task of two images in the layout of CVAT."""

    def make(first, second=POLYGON, **more):
        for stem in "ab":
            picture(tmp_path / f"images/{stem}.png")
        write_cvat(tmp_path, {"a.png": first, "b.png": second}, **more)
        return tmp_path

    return make


def test_boxes_and_polygons_by_z_order(two):
    # The polygon is first in the file, and drawn above.
    config, notes, found = examples(config_of("cvat", two(POLYGON + BOX)))
    expected = grid(
        ".......... .2222..... .2211111.. .2211111.. ...11111.. ...11111.. .......... .........."
    )
    np.testing.assert_array_equal(found["a"]["label"], expected)
    assert config.data.class_names == ("background", "cat", "dog")
    assert notes == [f"{config.data.root}: 1 images to train on, 1 held out"]
    assert resolve(config)[0] == config


def test_painted_masks(two):
    array = np.random.default_rng(0).random((4, 5)) < 0.5
    array[0, 0] = True  # the first run, of 0, is empty
    expected = np.zeros((8, 10), int)
    expected[3:7, 2:7] = array
    np.testing.assert_array_equal(labels(config_of("cvat", two(mask(array, 2, 3))))["a"], expected)


def test_masks_are_clipped_at_the_border(two):
    root = two(mask(np.ones((3, 4), bool), 8, 6))
    expected = np.zeros((8, 10), int)
    expected[6:, 8:] = 1
    np.testing.assert_array_equal(labels(config_of("cvat", root))["a"], expected)


def test_rotated_boxes_and_ellipses(two):
    turned = '<box label="cat" xtl="2" ytl="3" xbr="8" ybr="5" rotation="90.00" z_order="0"/>'
    ellipse = '<ellipse label="dog" cx="5.0" cy="4.0" rx="4.0" ry="2.0" z_order="0"/>'
    found = labels(config_of("cvat", two(turned, ellipse)))
    expected = np.zeros((8, 10), int)
    expected[1:7, 4:6] = 1  # 6 wide and 2 high around (5, 4), rotated by 90 degrees
    np.testing.assert_array_equal(found["a"], expected)
    y, x = np.mgrid[:8, :10] + 0.5
    inside = ((x - 5) / 4) ** 2 + ((y - 4) / 2) ** 2 <= 1
    np.testing.assert_array_equal(found["b"], np.where(inside, 2, 0))


def test_shapes_without_area_are_counted(two):
    points = '<points label="dog" points="1.0,2.0;3,4"/><polyline label="dog" points="1,2;3,4"/>'
    _, notes, found = examples(config_of("cvat", two(POLYGON + points, points)))
    assert not found["b"]["label"].any()
    (by_points, by_lines, bare) = notes[1:]
    assert "drawn as points, without an area, (2 of dog): left out" in by_points
    assert "1 of 2 images have no shape, and are background as a whole" in bare
    assert "drawn as polyline, without an area, (2 of dog): left out" in by_lines


def test_project_is_split_by_its_subsets(tmp_path):
    for subset, stem in (("Train", "a"), ("Train", "b"), ("Val", "a")):
        picture(tmp_path / f"images/{subset}/{stem}.png", value=7 if subset == "Val" else 1)
    text = {"a.png": BOX, "b.png": BOX, " a.png": POLYGON}
    write_cvat(tmp_path, text, subset=("Train", "Train", "Val"))
    file = tmp_path / "annotations.xml"
    file.write_text(file.read_text().replace('" a.png"', '"a.png"'))
    config = config_of("cvat", tmp_path, split_train="Train", split_eval="Val")
    _, notes, found = examples(config)
    assert notes[0].endswith("2 images to train on, 1 held out")
    assert found["a"]["image"].max() == 7
    assert found["a"]["label"].max() == 1
    _, notes = resolve(config_of("cvat", tmp_path))
    assert "have the splits Train, Val, and are held out by chance" in notes[1]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ('<polygon label="cat" points="1,2;3,4"/>', "it has 2 points; valid: 3 or more"),
        ('<polygon label="cat" points="1,2;x,4;5,6"/>', "image 'a.png': a polygon, x,y"),
        ('<polygon points="1,2;3,4;5,6"/>', "image 'a.png': a polygon has no 'label'"),
        ('<box label="cat" xtl="nan" ytl="1" xbr="2" ybr="3"/>', "a box: 'xtl' is 'nan'; valid: a"),
        ('<box label="cat" xtl="1" ytl="1" xbr="2"/>', "a box: 'ybr' is 'None'; valid: a number"),
        ('<mask label="cat" rle="1, 2" left="0" top="0" width="2" height="2"/>', "sum to 3, not 4"),
        (
            '<mask label="cat" rle="-1, 5" left="0" top="0" width="2" height="2"/>',
            "a run length is below 0",
        ),
        (
            '<mask label="cat" rle="x" left="0" top="0" width="2" height="2"/>',
            "annotations.xml, shape 1: cannot be drawn",
        ),
        (
            '<mask label="cat" rle="1" left="0" top="0" width="99999" height="99999"/>',
            "99999x99999 pixels, and its image",
        ),
    ],
)
def test_damaged_shapes(two, shapes, words):
    with pytest.raises(UserError) as raised:
        labels(config_of("cvat", two(shapes)))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_invalid_files(two, tmp_path):
    file = two(BOX) / "annotations.xml"
    text = file.read_text()
    for content, words in (
        (text.replace("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>"), "document"),
        (text.replace("</meta>", ""), "line 7: is not XML: mismatched tag"),
        (text.replace("<image ", "<track ").replace("</image>", "</track>"), "'CVAT for video'"),
        ("<annotation></annotation>", "is not CVAT XML: it starts with <annotation>"),
        ("<annotations></annotations>", "lists no image"),
        (text.replace('name="b.png"', 'name="a.png"'), "lists the image 'a.png' twice"),
        (text.replace('width="10"', 'width="9"'), "is 9x8 pixels"),
        (text.replace('width="10"', ""), "image 'a.png': has no 'width'"),
    ):
        file.write_text(content)
        with pytest.raises(UserError) as raised:
            labels(config_of("cvat", tmp_path))
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


def test_changed_files_are_detected(two):
    root = two(BOX)
    config = config_of("cvat", root)
    train = resolve(config)[0]
    assert_stamped(train, root / "annotations.xml")
