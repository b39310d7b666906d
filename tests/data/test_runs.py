"""Runs of pixels down the columns, compared with masks."""

import numpy as np
from annotation_files import filled

from fcnjax.data.annotations.polygons import ellipse_mask, polygon_mask, union_mask
from fcnjax.data.annotations.runs import from_lengths, from_mask, union

SIZE = (7, 9)


def test_runs_reproduce_their_masks():
    rng = np.random.default_rng(0)
    for density in (0, 0.1, 0.5, 0.9, 1):
        mask = rng.random(SIZE) < density
        runs = from_mask(mask, 0, 0, SIZE)
        np.testing.assert_array_equal(filled(runs, SIZE), mask)
        assert runs.area == mask.sum()
        assert (runs.starts[1:] >= runs.ends[:-1]).all()


def test_union_of_runs_is_that_of_their_masks():
    rng = np.random.default_rng(0)
    for _ in range(50):
        masks = rng.random((3, *SIZE)) < rng.random()
        joined = union([from_mask(mask, 0, 0, SIZE) for mask in masks])
        np.testing.assert_array_equal(filled(joined, SIZE), masks.any(0))
        assert joined.area == masks.any(0).sum()  # a pixel of two regions counts once


def test_lengths_may_be_zero_or_none():
    assert from_lengths(np.zeros(0, np.int64)).area == 0
    runs = from_lengths(np.asarray([0, 0, 3, 0, 0, 2, 1]))
    assert list(zip(runs.starts.tolist(), runs.ends.tolist(), strict=True)) == [(3, 5)]


def test_overlapping_polygons_are_one_region():
    squares = [np.asarray([[x, 1], [x + 3, 1], [x + 3, 4], [x, 4]], float) for x in (1, 2)]
    both = filled(polygon_mask(squares[0], SIZE), SIZE) | filled(
        polygon_mask(squares[1], SIZE), SIZE
    )
    runs = union_mask(squares, SIZE)
    np.testing.assert_array_equal(filled(runs, SIZE), both)
    assert runs.area == both.sum() == 12


def test_ellipses_contain_pixels_whose_centres_are_inside():
    rng = np.random.default_rng(0)
    size = (40, 50)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    for _ in range(200):
        centre, radii = rng.uniform(-10, 60, 2), rng.uniform(0.1, 30, 2)
        turn = rng.uniform(-180, 180)
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        along = (x - centre[0]) * cos + (y - centre[1]) * sin
        across = (y - centre[1]) * cos - (x - centre[0]) * sin
        inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
        np.testing.assert_array_equal(filled(ellipse_mask(centre, radii, turn, size), size), inside)
