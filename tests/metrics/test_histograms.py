"""Ranking and calibration from histograms, against scikit-learn and torchmetrics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax import metrics
from fcnjax.metrics import histograms


def make_ranked():
    """Labels and log-odds; those of one image are far from 0."""
    random = np.random.default_rng(11)
    labels = random.integers(0, 2, (3, 40, 50))
    odds = (random.normal(size=labels.shape) * 3 + 3 * (2 * labels - 1)).astype(np.float32)
    odds[0] *= 2
    return random, labels, odds


def counts_of(names, probabilities_of, logits, labels, valid):
    def count(logits, labels, valid):
        return metrics.device_counts(names, probabilities_of(logits), labels, 255, valid)

    return jax.device_get(jax.jit(count)(logits, labels, np.asarray(valid)))


def count_odds(labels, odds, valid=(True, True, True)):
    names, logits = ("auroc", "average_precision"), np.stack([-odds, odds], -1)
    return counts_of(names, jax.nn.sigmoid, logits, labels, valid)["odds"]


def test_ranking_matches_scikit_learn_within_its_bound():
    _, labels, odds = make_ranked()
    counts = count_odds(labels, odds)
    assert counts.dtype == jnp.int32
    # scikit-learn 1.9.1: roc_auc_score and average_precision_score of the labels and log-odds.
    scores = histograms.auroc(counts) | histograms.average_precision(counts)
    for name, expected in (("auroc", 0.92219383), ("average_precision", 0.92352192)):
        value, bound = scores[name], scores[f"{name}_bound"]
        assert 0 < bound < 2e-3
        assert abs(value - expected) <= bound


def test_ranking_by_hand():
    counts = np.zeros((histograms.ODDS_BINS, 2))
    counts[10], counts[20], counts[30] = (2, 0), (1, 1), (0, 1)
    # One of 6 pairs is in one bin; the pixel there has a precision of 2/3, and 2/2 or 1/1 at best.
    area = {"auroc": (2 + 0.5 + 3) / 6, "auroc_bound": 0.5 / 6}
    assert histograms.auroc(counts) == pytest.approx(area)
    scores = histograms.average_precision(counts)
    assert scores["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["average_precision_bound"] == pytest.approx((1 - 2 / 3) / 2)
    empty = np.zeros_like(counts)
    scores = histograms.auroc(empty) | histograms.average_precision(empty)
    assert np.isnan(list(scores.values())).all()


def test_calibration_matches_torchmetrics():
    random, _, _ = make_ranked()
    logits = (random.normal(size=(3, 40, 50, 3)) * 2).astype(np.float32)
    labels = random.integers(0, 3, (3, 40, 50))
    logits += 1.5 * np.eye(3, dtype=np.float32)[labels]
    counts = counts_of(("calibration_error",), jax.nn.softmax, logits, labels, (True,) * 3)
    scores = histograms.calibration(counts["confidence"])
    # torchmetrics 1.9.0: multiclass_calibration_error(p, y, num_classes=3, n_bins=15, norm="l1")
    bound = 0.5 / histograms.CONFIDENCE_BINS
    assert abs(scores["calibration_error"] - 0.20159794) <= bound
    assert sum(each["share"] for each in scores["reliability"]) == pytest.approx(1)
    assert all(each["low"] <= each["confidence"] <= each["high"] for each in scores["reliability"])


def test_calibration_by_hand():
    p = np.array([0.9, 0.9, 0.9, 0.6])
    labels = np.array([[[0, 0, 1, 1]]])
    probabilities = np.stack([p, 1 - p], -1)[None, None]
    counts = counts_of(("calibration_error",), lambda p: p, probabilities, labels, (True,))
    scores = histograms.calibration(counts["confidence"])
    assert scores["calibration_error"] == pytest.approx(
        0.75 * abs(0.9 - 2 / 3) + 0.25 * 0.6, abs=2e-4
    )
    empty = histograms.calibration(np.zeros_like(counts["confidence"]))
    assert np.isnan(empty["calibration_error"])


def test_ignored_pixels_are_not_counted_and_batches_add_up():
    _, labels, odds = make_ranked()
    total = count_odds(labels, odds)
    parts = [
        count_odds(labels, odds, valid) for valid in ((True, False, False), (False, True, True))
    ]
    np.testing.assert_array_equal(sum(map(np.int64, parts)), total)
    some = labels.copy()
    some[0] = 255
    np.testing.assert_array_equal(count_odds(some, np.where(some == 255, np.nan, odds)), parts[1])


def test_image_is_counted_in_parts_of_one_program():
    rng, names = np.random.default_rng(2), ("calibration_error", "auroc")
    compiled = metrics.extra._count_part._cache_size()
    for size in ((1, 3), (40, 51), (256, 256), (300, 301)):
        odds = rng.normal(scale=9, size=size).astype(np.float32)
        probabilities = np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], -1)
        label = rng.choice(np.asarray([0, 1, 255], np.uint8), size)
        expected = metrics.device_counts(
            names, probabilities[None], label[None], 255, np.ones(1, bool)
        )
        counts = metrics.image_histograms(names, probabilities, label, 255)
        assert counts.keys() == expected.keys()
        for name, count in counts.items():
            assert count.sum() == (label < 255).sum()
            np.testing.assert_array_equal(count, expected[name])
    assert metrics.extra._count_part._cache_size() == compiled + 1
    assert metrics.image_histograms(("boundary_f1",), probabilities, label, 255) == {}
