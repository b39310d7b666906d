"""Ranking and calibration from histograms, against scikit-learn and torchmetrics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax import metrics
from fcnjax.metrics import histograms


def ranked():
    """Labels and log-odds, of which one image's are far from 0."""
    random = np.random.default_rng(11)
    labels = random.integers(0, 2, (3, 40, 50))
    odds = (random.normal(size=labels.shape) * 3 + 3 * (2 * labels - 1)).astype(np.float32)
    odds[0] *= 2
    return random, labels, odds


def odds_of(labels, odds, valid=(True, True, True)):
    probabilities = jax.nn.sigmoid(jnp.stack([-odds, odds], -1))
    return metrics.device_counts(
        ("auroc", "average_precision"), probabilities, labels, 255, np.asarray(valid)
    )["odds"]


def test_ranking_is_scikit_learns_within_its_bound():
    _, labels, odds = ranked()
    counts = odds_of(labels, odds)
    assert counts.dtype == jnp.int32
    # scikit-learn 1.9.1: roc_auc_score and average_precision_score of the labels and log-odds.
    for function, expected in (
        (histograms.auroc, 0.92219383),
        (histograms.average_precision, 0.92352192),
    ):
        value, bound = function(counts)
        assert 0 < bound < 2e-3
        assert abs(value - expected) <= bound


def test_ranking_by_hand():
    counts = np.zeros((histograms.ODDS_BINS, 2))
    counts[10], counts[20], counts[30] = (2, 0), (1, 1), (0, 1)
    # Of 6 pairs one is in one bin; the pixel there has a precision of 2/3, and 2/2 or 1/1 at best.
    assert histograms.auroc(counts) == pytest.approx(((2 + 0.5 + 3) / 6, 0.5 / 6))
    value, bound = histograms.average_precision(counts)
    assert value == pytest.approx((1 + 2 / 3) / 2)
    assert bound == pytest.approx((1 - 2 / 3) / 2)
    nothing = np.zeros_like(counts)
    assert all(np.isnan([*histograms.auroc(nothing), *histograms.average_precision(nothing)]))


def test_calibration_is_that_of_torchmetrics():
    random, _, _ = ranked()
    logits = (random.normal(size=(3, 40, 50, 3)) * 2).astype(np.float32)
    labels = random.integers(0, 3, (3, 40, 50))
    logits += 1.5 * np.eye(3, dtype=np.float32)[labels]
    counts = metrics.device_counts(
        ("calibration_error",), jax.nn.softmax(logits), labels, 255, np.ones(3, bool)
    )["confidence"]
    found = histograms.calibration(counts)
    # torchmetrics 1.9.0: multiclass_calibration_error(p, y, num_classes=3, n_bins=15, norm="l1")
    bound = 0.5 / histograms.CONFIDENCE_BINS
    assert abs(found["calibration_error"] - 0.20159794) <= bound
    assert sum(own["share"] for own in found["reliability"]) == pytest.approx(1)
    assert all(own["low"] <= own["confidence"] <= own["high"] for own in found["reliability"])


def test_calibration_by_hand():
    p = np.array([0.9, 0.9, 0.9, 0.6])
    labels = np.array([[[0, 0, 1, 1]]])
    probabilities = jnp.asarray(np.stack([p, 1 - p], -1)[None, None])
    counts = metrics.device_counts(
        ("calibration_error",), probabilities, labels, 255, np.array([True])
    )
    found = histograms.calibration(counts["confidence"])
    assert found["calibration_error"] == pytest.approx(
        0.75 * abs(0.9 - 2 / 3) + 0.25 * 0.6, abs=2e-4
    )
    nothing = histograms.calibration(np.zeros_like(counts["confidence"]))
    assert np.isnan(nothing["calibration_error"])


def test_what_is_ignored_is_not_counted_and_batches_add():
    _, labels, odds = ranked()
    whole = odds_of(labels, odds)
    parts = [odds_of(labels, odds, valid) for valid in ((True, False, False), (False, True, True))]
    np.testing.assert_array_equal(sum(map(np.int64, parts)), whole)
    some = labels.copy()
    some[0] = 255
    np.testing.assert_array_equal(odds_of(some, np.where(some == 255, np.nan, odds)), parts[1])
