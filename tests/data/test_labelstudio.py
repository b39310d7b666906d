import numpy as np
import pytest
from annotation_files import (
    config_of,
    examples,
    grid,
    label_studio_runs,
    labels,
    ls_result,
    ls_task,
    picture,
    png,
    write_json,
)

from fcnjax.data.annotations.run_lengths import label_studio_mask
from fcnjax.errors import UserError

SIZE = (8, 10)


def polygon(label, *points):
    """Return a polygon given in pixels and written in percent."""
    return ls_result(
        "polygonlabels", {"points": [[x * 10, y * 12.5] for x, y in points], "closed": True}, label
    )


SQUARE = polygon("dog", (2, 1), (6, 1), (6, 5), (2, 5))


def export(root, *tasks):
    for stem in "ab":
        picture(root / f"images/{stem}.png")
    write_json(root / "project-1.json", [*tasks, ls_task("/data/upload/1/0123abcd-b.png", SQUARE)])
    return config_of("labelstudio", root)


def test_polygons_and_rectangles_are_drawn_in_order(tmp_path):
    rectangle = {"x": 10, "y": 25, "width": 30, "height": 25, "rotation": 0}
    turned = {"x": 80, "y": 25, "width": 40, "height": 25, "rotation": 90}  # around its corner
    task = ls_task(
        "/data/upload/1/89abcdef-a.png",
        SQUARE,
        ls_result("rectanglelabels", rectangle, "cat"),
        ls_result("rectanglelabels", turned, "cat"),
    )
    config, notes, found = examples(export(tmp_path, task))
    expected = grid(
        ".......... ..2222.... .1112211.. .11122.1.. ..2222.... .......... .......... .........."
    )
    expected[2:4, 6:8] = 0
    expected[2:7, 6:8] = 0
    # 4 wide and 2 high, rotated clockwise around (8, 2): x from 6 to 8 and y from 2 to 5.2.
    expected[2:6, 6:8] = 1
    np.testing.assert_array_equal(found["a"]["label"], expected)
    assert config.data.class_names == ("background", "cat", "dog")
    assert len(notes) == 1


@pytest.mark.parametrize("density", [0, 0.1, 0.5, 1])
def test_brush_strokes(tmp_path, density):
    mask = np.random.default_rng(0).random(SIZE) < density
    value = {"format": "rle", "rle": label_studio_runs(mask)}
    task = ls_task("s3://bucket/deep/a.png", ls_result("brushlabels", value, "cat"))
    np.testing.assert_array_equal(labels(export(tmp_path, task))["a"], mask.astype(int))


def test_bitmasks_and_ellipses(tmp_path):
    mask = np.random.default_rng(0).random(SIZE) < 0.5
    address = f"data:image/png;base64,{png(mask.astype(np.uint8) * 255)}"
    oval = {"x": 50, "y": 50, "radiusX": 40, "radiusY": 25, "rotation": 0}
    task = ls_task(
        "http://host/a.png?x=1",
        ls_result("ellipselabels", oval, "cat"),
        ls_result("bitmasklabels", {"imageDataURL": address}, "dog"),
    )
    y, x = np.mgrid[:8, :10] + 0.5
    inside = ((x - 5) / 4) ** 2 + ((y - 4) / 2) ** 2 <= 1
    expected = np.where(mask, 2, np.where(inside, 1, 0))
    np.testing.assert_array_equal(labels(export(tmp_path, task))["a"], expected)


def test_one_of_several_annotations_is_used(tmp_path):
    task = ls_task("a.png", SQUARE)
    other = polygon("dog", (0, 0), (3, 0), (3, 3), (0, 3))
    task["annotations"] += [
        {"result": [other], "updated_at": "2026-01-01T00:00:00Z"},
        {"result": [], "updated_at": "2026-02-01T00:00:00Z", "was_cancelled": True},
    ]
    _, notes, found = examples(export(tmp_path, task))
    assert found["a"]["label"].sum() == 9
    assert "1 tasks have several annotations: the ground truth is used, or the newest" in notes[1]
    task["annotations"][0]["ground_truth"] = True
    assert labels(export(tmp_path, task))["a"].sum() == 16


def test_tasks_without_annotations_are_left_out(tmp_path):
    nobody = {"id": 3, "annotations": [], "data": {"image": "c.png"}}
    empty = ls_task("a.png")  # annotated, without any object
    _, notes, found = examples(export(tmp_path, empty, nobody))
    assert sorted(found) == ["a", "b"]
    assert not found["a"]["label"].any()
    assert "1 tasks without an annotation are left out" in notes[1]


def test_regions_without_area_or_label_are_counted(tmp_path):
    point = ls_result("keypointlabels", {"x": 10, "y": 10, "width": 1}, "nose")
    bare = polygon("dog", (0, 0), (3, 0), (3, 3), (0, 3))
    del bare["value"]["polygonlabels"]
    task = ls_task("a.png", SQUARE, point, {**bare, "id": "z"}, {"type": "choices", "value": {}})
    config, notes, _ = examples(export(tmp_path, task))
    assert config.data.class_names == ("background", "dog")
    assert "drawn as keypointlabels, without an area, (1 of nose): left out" in notes[1]
    assert "without a label (1 of no class): left out" in notes[2]


def test_labels_in_separate_results(tmp_path):
    shape = polygon("dog", (2, 1), (6, 1), (6, 5), (2, 5))
    named = {**shape, "type": "labels", "value": {**shape["value"], "labels": ["cat"]}}
    del named["value"]["polygonlabels"]
    bare = {**shape, "type": "polygon", "value": {"points": shape["value"]["points"]}}
    config, notes, found = examples(export(tmp_path, ls_task("a.png", bare, named)))
    assert config.data.class_names == ("background", "cat", "dog")
    assert (found["a"]["label"] == 1).sum() == 16
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rle: rle[:10], "the run lengths end before the last value"),
        (lambda rle: rle[:3], "the run lengths end within the header"),
        (lambda rle: [0, 0, 0, 9, *rle[4:]], "the run lengths hold 9 values, not 4 for each"),
        (lambda rle: [*rle[:8], 300], "are not a list of bytes"),
        (lambda rle: "abc", "are not a list of bytes"),
    ],
)
def test_damaged_brush_strokes(change, words):
    rle = label_studio_runs(np.arange(80).reshape(8, 10) % 7 == 0)
    with pytest.raises(ValueError, match=words):
        label_studio_mask(change(rle), SIZE)


def test_random_bytes_raise_or_decode():
    rng = np.random.default_rng(0)
    rle = label_studio_runs(rng.random(SIZE) < 0.5)
    for _ in range(200):
        damaged = list(rle)
        for place in rng.integers(4, len(rle), 3):
            damaged[place] = int(rng.integers(256))
        try:
            assert label_studio_mask(damaged, SIZE).shape == SIZE
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"image": "a.png", "label": [], "id": 1}, "export the project as 'JSON', not as 'JSON-MI"),
        (ls_task("a.png", {**SQUARE, "image_rotation": 90}), "was rotated by 90 degrees in Label"),
        (ls_task("a.png", {**SQUARE, "original_width": 9}), "is 9x8 pixels, and its image"),
        (ls_task("gone.png", SQUARE), "project-1.json: no such file"),
        (ls_task("x/b.png", SQUARE), "both lead to the image"),
        (
            ls_task("a.png", ls_result("polygonlabels", {"points": [[1, 2], [3], [4, 5]]}, "cat")),
            "[0]: a region of 'cat' is damaged",
        ),
        (
            ls_task(
                "a.png", ls_result("rectanglelabels", {"x": 1, "width": 3, "height": 2}, "cat")
            ),
            "[0]: a region of 'cat' is damaged: 'y'",
        ),
    ],
)
def test_invalid_exports(tmp_path, task, words):
    with pytest.raises(UserError) as raised:
        labels(export(tmp_path, task))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
