"""Small regions and holes: drawn by hand, and held to what must be true of any mask."""

import numpy as np
import pytest
from scipy import ndimage

from fcnjax.inference.regions import TOUCHING, fill_holes, remove_small_regions


def drawn(text):
    return np.asarray([list(map(int, row)) for row in text.split()], np.uint8)


def test_a_small_region_gets_the_class_around_most_of_it():
    mask = drawn("00011 00211 00011")
    assert remove_small_regions(mask, 2).tolist() == drawn("00011 00011 00011").tolist()
    np.testing.assert_array_equal(remove_small_regions(mask, 1), mask)


def test_small_regions_within_small_ones_are_gone_too():
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 2:7], mask[3:6, 3:6], mask[4, 4] = 1, 2, 3
    assert not remove_small_regions(mask, 26).any()
    # Nothing surrounds a region that is all there is.
    assert (remove_small_regions(np.full((3, 3), 7, np.uint8), 100) == 7).all()


def test_corners_join_a_region():
    mask = drawn("10000 01000 00100 00000")
    np.testing.assert_array_equal(remove_small_regions(mask, 3), mask)
    assert not remove_small_regions(mask, 4).any()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("classes", [2, 4])
def test_no_small_region_is_left(seed, classes):
    mask = np.random.default_rng(seed).integers(0, classes, (23, 31)).astype(np.uint8)
    smallest = 9
    found = remove_small_regions(mask, smallest)
    for value in np.unique(found):
        labels, _ = ndimage.label(found == value, TOUCHING)
        assert (np.bincount(labels.ravel())[1:] >= smallest).all()


def test_holes_are_filled_up_to_their_size():
    mask = drawn("1111110 1001110 1001010 1111110 0000000")
    assert fill_holes(mask, 1).tolist() == drawn("1111110 1001110 1001110 1111110 0000000").tolist()
    assert fill_holes(mask, 4).tolist() == drawn("1111110 1111110 1111110 1111110 0000000").tolist()


def test_what_is_no_hole_stays():
    between = drawn("11122 10022 11122")  # two classes around it
    at_edge = drawn("11111 00111 11111")
    for mask in (between, at_edge):
        np.testing.assert_array_equal(fill_holes(mask, 10), mask)
    diagonal = drawn("01111 10111 11111")  # closed: pixels that meet at a corner do not open it
    assert fill_holes(diagonal, 10).tolist() == drawn("01111 11111 11111").tolist()
