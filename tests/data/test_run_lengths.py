"""Run lengths and polygons, compared with pycocotools."""

import numpy as np
import pytest
from annotation_files import filled

from fcnjax.data.annotations.polygons import box_corners, ellipse_mask, polygon_mask
from fcnjax.data.annotations.run_lengths import coco_mask, cvat_mask, fill_runs, parse_counts
from fcnjax.data.annotations.runs import from_mask

# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def tools():
    return pytest.importorskip("pycocotools.mask")


def coco_polygon(tools, points, size):
    return tools.decode(tools.frPyObjects([points.ravel().tolist()], *size))[..., 0].astype(bool)


def test_polygons_equal_those_of_pycocotools(tools):
    rng = np.random.default_rng(0)
    for case in range(400):
        size = tuple(map(int, rng.integers(1, 50, 2)))
        points = rng.uniform(-15, 60, (int(rng.integers(3, 12)), 2))
        if case % 3 == 0:
            points = np.round(points * 2) / 2  # on pixels' borders and centres
        if case % 50 == 0:
            points *= 500
        found = filled(polygon_mask(points, size), size)
        np.testing.assert_array_equal(found, coco_polygon(tools, points, size))


def test_distant_polygons_in_several_blocks(tools):
    points = np.random.default_rng(0).uniform(-9e4, 9e4, (9, 2))
    found = filled(polygon_mask(points, (40, 50)), (40, 50))
    np.testing.assert_array_equal(found, coco_polygon(tools, points, (40, 50)))


def test_run_lengths_equal_those_of_pycocotools(tools):
    rng = np.random.default_rng(0)
    for size in ((1, 1), (7, 5), (200, 300)):
        for density in (0, 0.02, 0.5, 1):
            mask = rng.random(size) < density
            runs = tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
            np.testing.assert_array_equal(filled(coco_mask(runs, size), size), mask)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("\0" * 9, "a character outside"),
        ("0\u00e9", "not ASCII"),
        ("p", "a character outside"),
        ("0P", "end within a number"),
        ("oooooooo0", "more than 35 bits"),
        ("1", "sum to 1, not 6"),
        ("", "sum to 0, not 6"),
        ([7], "sum to 7, not 6"),
        ([-1, 7], "below 0"),
        ([2.5, 3.5], "not a whole number"),
        ([float("nan"), 6], "not a whole number"),
        ([1e300, 1e300], "sum to"),
        (["a", 6], "not a number"),
    ],
)
def test_damaged_run_lengths_are_refused(counts, words):
    with pytest.raises(ValueError, match=words):
        coco_mask(counts, (2, 3))


def test_random_texts_are_refused_or_read():
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(map(chr, rng.integers(48, 112, int(rng.integers(1, 12)))))
        try:
            assert 0 <= coco_mask(text, (4, 5)).area <= 20
        except ValueError:
            continue


def test_run_lengths_as_texts_and_floats():
    expected = [False, True, True, False]
    for counts in ([1, 2, 1], [1.0, 2.0, 1.0], ["1", "2", "1"], np.asarray([1, 2, 1])):
        assert fill_runs(counts, 4).tolist() == expected
    assert cvat_mask("1, 2, 1", (2, 2)).tolist() == [[False, True], [True, False]]
    assert parse_counts("").tolist() == []


def test_rotated_boxes_keep_their_centre_or_corner():
    corners = box_corners(2, 3, 6, 2, 90)
    np.testing.assert_allclose(corners, [[6, 1], [6, 7], [4, 7], [4, 1]], atol=1e-9)
    corners = box_corners(2, 3, 6, 2, 90, about="corner")
    np.testing.assert_allclose(corners, [[2, 3], [2, 9], [0, 9], [0, 3]], atol=1e-9)


def test_rotated_ellipse():
    # A quarter turn swaps the radii.
    turned = filled(ellipse_mask((5, 4), (3, 1.5), 90, (9, 11)), (9, 11))
    np.testing.assert_array_equal(
        turned, filled(ellipse_mask((5, 4), (1.5, 3), 0, (9, 11)), (9, 11))
    )
    assert turned.sum() == 12  # two columns of six
    assert not filled(ellipse_mask((5, 4), (0, 3), 0, (9, 11)), (9, 11)).any()
    assert not filled(ellipse_mask((50, 4), (3, 3), 0, (9, 11)), (9, 11)).any()


def test_masks_are_clipped_at_each_edge():
    mask = np.arange(6).reshape(2, 3) > 0
    assert filled(from_mask(mask, -1, -1, (4, 5)), (4, 5))[0, :2].tolist() == [True, True]
    assert filled(from_mask(mask, -1, -1, (4, 5)), (4, 5)).sum() == 2
    assert filled(from_mask(mask, 4, 3, (4, 5)), (4, 5)).sum() == 0
    assert filled(from_mask(mask, 1, 1, (4, 5)), (4, 5))[1:3, 1:4].tolist() == mask.tolist()
    assert not filled(from_mask(mask, 9, 9, (4, 5)), (4, 5)).any()
