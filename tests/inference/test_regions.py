"""Removal of small regions and holes: examples by hand, and invariants of random masks."""

import numpy as np
import pytest
from scipy import ndimage

from fcnjax.inference.regions import CONNECTIVITY, fill_holes, remove_small_regions


def parse_mask(text):
    return np.asarray([list(map(int, row)) for row in text.split()], np.uint8)


def test_small_region_gets_the_most_frequent_class_around_it():
    mask = parse_mask("00011 00211 00011")
    assert remove_small_regions(mask, 2).tolist() == parse_mask("00011 00011 00011").tolist()
    np.testing.assert_array_equal(remove_small_regions(mask, 1), mask)


def test_nested_small_regions_are_removed():
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 2:7], mask[3:6, 3:6], mask[4, 4] = 1, 2, 3
    assert not remove_small_regions(mask, 26).any()
    # A region without neighbours stays.
    assert (remove_small_regions(np.full((3, 3), 7, np.uint8), 100) == 7).all()


def test_regions_are_8_connected():
    mask = parse_mask("10000 01000 00100 00000")
    np.testing.assert_array_equal(remove_small_regions(mask, 3), mask)
    assert not remove_small_regions(mask, 4).any()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("classes", [2, 4])
def test_no_small_region_remains(seed, classes):
    mask = np.random.default_rng(seed).integers(0, classes, (23, 31)).astype(np.uint8)
    min_size = 9
    cleaned = remove_small_regions(mask, min_size)
    for value in np.unique(cleaned):
        labels, _ = ndimage.label(cleaned == value, CONNECTIVITY)
        assert (np.bincount(labels.ravel())[1:] >= min_size).all()


def test_holes_are_filled_up_to_a_size():
    mask = parse_mask("1111110 1001110 1001010 1111110 0000000")
    small_filled = "1111110 1001110 1001110 1111110 0000000"
    all_filled = "1111110 1111110 1111110 1111110 0000000"
    assert fill_holes(mask, 1).tolist() == parse_mask(small_filled).tolist()
    assert fill_holes(mask, 4).tolist() == parse_mask(all_filled).tolist()


def test_open_background_is_not_filled():
    between = parse_mask("11122 10022 11122")  # two classes around it
    at_edge = parse_mask("11111 00111 11111")
    for mask in (between, at_edge):
        np.testing.assert_array_equal(fill_holes(mask, 10), mask)
    diagonal = parse_mask("01111 10111 11111")  # closed at the corner
    assert fill_holes(diagonal, 10).tolist() == parse_mask("01111 11111 11111").tolist()
