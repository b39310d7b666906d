"""Thresholds, confidence and entropy, compared with values computed by hand."""

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.inference.postprocess import apply_thresholds, confidence, entropy, parse_thresholds

NAMES = ("ground", "disc", "bar")


def pixels(*rows):
    return np.asarray([rows], np.float32)


def test_class_is_predicted_from_its_threshold_on():
    two = pixels([0.7, 0.3], [0.71, 0.29], [0.2, 0.8])
    assert apply_thresholds(two, {1: 0.3}).tolist() == [[1, 0, 1]]
    # Below its threshold, the most probable other class is predicted, even if less probable.
    assert apply_thresholds(two, {1: 0.9}).tolist() == [[0, 0, 0]]


def test_greatest_ratio_to_the_threshold_wins():
    probabilities = pixels([0.1, 0.5, 0.4], [0.6, 0.2, 0.2], [0.4, 0.35, 0.25])
    assert apply_thresholds(probabilities, {1: 0.4, 2: 0.2}).tolist() == [[2, 2, 2]]
    assert apply_thresholds(probabilities, {1: 0.3, 2: 0.3}).tolist() == [[1, 0, 1]]
    # No threshold is reached: the greatest ratio wins.
    assert apply_thresholds(probabilities, {0: 1, 1: 1, 2: 1}).tolist() == [[1, 0, 0]]


def test_threshold_of_half_equals_argmax_for_two_classes():
    rng = np.random.default_rng(0)
    vessel = rng.uniform(size=(20, 30)).astype(np.float32)
    both = np.stack([1 - vessel, vessel], -1)
    np.testing.assert_array_equal(apply_thresholds(both, {1: 0.5}), both.argmax(-1))


def test_confidence_is_the_probability_of_the_predicted_class():
    probabilities = pixels([0.1, 0.5, 0.4], [0.6, 0.2, 0.2])
    mask = np.asarray([[2, 0]], np.uint8)
    np.testing.assert_allclose(confidence(probabilities, mask), [[0.4, 0.6]])


def test_entropy_by_hand():
    sure, even = [1, 0, 0], [1 / 3] * 3
    half = [0.5, 0.5, 0]
    expected = [0, 1, np.log(2) / np.log(3)]
    np.testing.assert_allclose(entropy(pixels(sure, even, half))[0], expected, atol=1e-6)
    # Independent classes: the mean binary entropy in bits.
    np.testing.assert_allclose(entropy(pixels([0.5, 0.5, 1], [0, 0, 0]))[0], [2 / 3, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("disc", "--threshold: 'disc' is not CLASS:VALUE"),
        ("disc:2", "--threshold: 'disc:2' is not CLASS:VALUE, with a value in 0..1"),
        ("disc:nan", "is not CLASS:VALUE"),
        ("dics:0.5", "--threshold: unknown 'dics' (did you mean 'disc'?); valid: bar, disc, groun"),
    ],
)
def test_invalid_thresholds(word, words):
    with pytest.raises(UserError) as error:
        parse_thresholds([word], NAMES)
    assert words in str(error.value)
    assert parse_thresholds(["bar:0.25"], NAMES) == {2: 0.25}
