"""Outputs of shared classes are kept by name."""

import numpy as np
import pytest

from fcnjax.data.labels.class_match import ClassMatch, class_ids, find_class


def test_outputs_follow_the_names():
    match = ClassMatch(("Road", "traffic_light", "sky"), ("sky", "tree", "road", "Traffic Light"))
    assert match.pairs == [(2, 0), (0, 2), (1, 3)]
    trained, new = np.asarray([[1.0, 2.0, 3.0]]), np.zeros((1, 4))
    assert match.is_by_class("params/head/kernel", trained.shape, new.shape)
    np.testing.assert_array_equal(match.copy(trained, new), [[3, 0, 1, 2]])
    assert "3 classes" in match.description
    assert "random: tree" in match.description


def test_output_for_no_object_is_kept():
    match = ClassMatch(("a", "b"), ("b", "c", "d"))
    trained, new = np.asarray([1.0, 2.0, 9.0]), np.zeros(4)
    assert match.is_by_class("params/decoder/class_predictor/bias", trained.shape, new.shape)
    np.testing.assert_array_equal(match.copy(trained, new), [2, 0, 0, 9])


@pytest.mark.parametrize(
    ("trained", "new", "name", "shapes", "expected"),
    [
        (("a", "b"), ("a", "b"), "params/head/kernel", ((8, 2), (8, 2)), False),
        (("a", "b"), ("b", "a"), "params/head/kernel", ((8, 2), (8, 2)), True),
        # Another layer may have as many outputs as there are classes.
        (("a", "b"), ("b", "a"), "params/encoder/conv/kernel", ((8, 2), (8, 2)), False),
        (("a", "b"), ("a", "c", "d"), "params/decoder/x/kernel", ((8, 2), (4, 3)), False),
        (("a", "b"), ("a", "c", "d"), "batch_stats/x/mean", ((2,), (3,)), False),
    ],
)
def test_variables_with_an_output_for_each_class(trained, new, name, shapes, expected):
    assert ClassMatch(trained, new).is_by_class(name, *shapes) is expected


def test_a_first_synonym_comes_before_the_further_ones_of_other_classes():
    ids = class_ids(
        ("screen door, screen", "house", "building, house", "screen, projection screen")
    )
    assert find_class("Screen", ids) == 3
    assert find_class("house", ids) == 1
    assert find_class("building", ids) == 2
    assert find_class("projection_screen", ids) == 3
    assert find_class("door", ids) is None
