import math

import numpy as np
import pytest
from annotation_files import config_of, examples, labels, picture, write_json

from fcnjax.errors import UserError


def region(shape, label="cat", **attributes):
    return {"shape_attributes": shape, "region_attributes": {"label": label, **attributes}}


SQUARE = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 2}


def export(root, *regions, project=False, **more):
    for stem in "ab":
        picture(root / f"images/{stem}.png")
    images = {
        "a.png123": {"filename": "a.png", "size": 123, "regions": list(regions), **more},
        # Version 1 has an object instead of the list.
        "b.png123": {"filename": "b.png", "size": 123, "regions": {"0": region(SQUARE)}},
    }
    write_json(root / "via.json", {"_via_img_metadata": images} if project else images)
    return config_of("via", root)


@pytest.mark.parametrize("project", [False, True])
def test_shapes_are_drawn_in_order(tmp_path, project):
    polygon = {"name": "polygon", "all_points_x": [2, 7, 7, 2], "all_points_y": [1, 1, 3, 3]}
    config, notes, found = examples(
        export(tmp_path, region(SQUARE), region(polygon, "dog"), project=project)
    )
    expected = np.zeros((8, 10), int)
    expected[2:4, 1:4] = 1
    np.testing.assert_array_equal(found["b"]["label"], expected)
    expected[1:3, 2:7] = 2
    np.testing.assert_array_equal(found["a"]["label"], expected)
    assert config.data.class_names == ("background", "cat", "dog")
    assert len(notes) == 1


def test_ellipses_and_circles(tmp_path):
    ellipse = {"name": "ellipse", "cx": 5, "cy": 4, "rx": 2, "ry": 4, "theta": math.pi / 2}
    found = labels(export(tmp_path, region(ellipse)))["a"]
    y, x = np.mgrid[:8, :10] + 0.5
    np.testing.assert_array_equal(found, ((x - 5) / 4) ** 2 + ((y - 4) / 2) ** 2 <= 1)
    found = labels(export(tmp_path, region({"name": "circle", "cx": 5, "cy": 4, "r": 2.5})))["a"]
    np.testing.assert_array_equal(found, np.hypot(x - 5, y - 4) <= 2.5)


def test_shapes_without_area_are_counted(tmp_path):
    point = region({"name": "point", "cx": 1, "cy": 1}, "nose")
    config, notes, _ = examples(export(tmp_path, region(SQUARE), point))
    assert "drawn as point, without an area, (1 of nose): left out" in notes[1]
    assert config.data.class_names == ("background", "cat")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (region({"name": "star"}), "a.png, region 1: the star is damaged: its shape is unknown"),
        (region({"name": "rect", "x": 1}), "region 1: the rect is damaged: 'y'"),
        (region({**SQUARE, "x": 1e9}), "valid: a number below 100000"),
        (
            {"shape_attributes": SQUARE, "region_attributes": {}},
            "no attribute is clearly the class",
        ),
        (
            {"shape_attributes": SQUARE, "region_attributes": {"colour": "red", "size": "big"}},
            "it has colour, size; valid: one, or one of label, class",
        ),
        (region(SQUARE, {"cat": True, "dog": True}), "the attribute 'label' names no class"),
        (region(SQUARE, " "), "the attribute 'label' names no class"),
        ({"shape_attributes": SQUARE}, "a.png, region 1: has no 'region_attributes'"),
    ],
)
def test_damaged_regions(tmp_path, entry, words):
    with pytest.raises(UserError) as raised:
        labels(export(tmp_path, entry))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_ticked_checkbox_is_the_class(tmp_path):
    entry = region(SQUARE, {"cat": False, "dog": True}, note="far")
    assert examples(export(tmp_path, entry))[0].data.class_names == ("background", "cat", "dog")
