"""Scores of single images, and the bootstrap over them."""

import numpy as np
import pytest
from scipy import stats

from fcnjax import metrics

NAMES = ("a", "b", "c")


def matrices(count, classes=3, seed=0):
    """Confusion matrices of images that differ in how well they were labelled."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 40, (count, classes, classes))
    return found + rng.integers(0, 400, count)[:, None, None] * np.eye(classes, dtype=int)


def image_counts(each):
    return metrics.image_counts(np.asarray(each))


def test_scores_follow_from_image_counts():
    each = matrices(5)
    counts = image_counts(each)
    hits, labelled, predicted = counts.sum(0)
    scores = metrics.compute(each.sum(0), NAMES)
    np.testing.assert_allclose(
        hits / (labelled + predicted - hits), list(scores["iou"].values()), rtol=1e-12
    )
    assert labelled.tolist() == each.sum((0, 2)).tolist()


def test_score_of_an_image():
    two = np.asarray([[[5, 1], [2, 4]], [[9, 0], [0, 0]], [[0, 0], [3, 0]]])
    scores = metrics.image_scores(image_counts(two))
    assert scores[0] == pytest.approx(2 * 4 / (2 * 4 + 1 + 2))
    assert np.isnan(scores[1])  # no foreground, and none was found
    assert scores[2] == 0
    more = np.asarray([[[4, 0, 0], [2, 2, 0], [0, 0, 0]]])
    scores = metrics.image_scores(image_counts(more))
    assert scores.tolist() == [pytest.approx((4 / 6 + 2 / 4) / 2)]


def test_intervals_match_scipy():
    each = matrices(30)
    found = metrics.intervals(image_counts(each), NAMES, draws=4000)

    def score(name, key):
        def of(rows):
            scores = metrics.compute(each[rows.astype(int)].sum(0), NAMES)
            return scores[key] if name is None else scores[key][name]

        return of

    for name, key in ((None, "mean_iou"), ("b", "iou"), ("c", "dice")):
        other = stats.bootstrap(
            (np.arange(30),),
            score(name, key),
            vectorized=False,
            n_resamples=1500,
            method="percentile",
            rng=np.random.default_rng(1),
        ).confidence_interval
        low, high = found[key if name is None else f"{key}/{name}"]
        width = high - low
        assert width > 0.01
        assert abs(low - other.low) < 0.15 * width
        assert abs(high - other.high) < 0.15 * width


def test_equal_images_have_empty_intervals_and_no_images_have_nan():
    each = np.repeat(matrices(1), 6, 0)
    each[:, 2], each[:, :, 2] = 0, 0
    found = metrics.intervals(image_counts(each), NAMES)
    scores = metrics.compute(each.sum(0), NAMES)
    assert found["iou/a"] == pytest.approx((scores["iou"]["a"],) * 2)
    assert found["mean_dice"] == pytest.approx((scores["mean_dice"],) * 2)
    assert np.isnan(found["iou/c"]).all()
    none = metrics.intervals(np.zeros((0, 3, 3), int), NAMES)
    assert np.isnan([*none.values()]).all()


def test_differences_match_paired_scipy_bootstrap():
    one = matrices(30)
    other = one + np.random.default_rng(2).integers(0, 9, one.shape)
    counts = [image_counts(each) for each in (one, other)]
    found = metrics.differences(*counts, NAMES, draws=4000)

    def of(rows):
        rows = rows.astype(int)
        scores = [metrics.compute(each[rows].sum(0), NAMES)["mean_iou"] for each in (one, other)]
        return scores[0] - scores[1]

    interval = stats.bootstrap(
        (np.arange(30),),
        of,
        vectorized=False,
        n_resamples=1500,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    difference, low, high = found["mean_iou"]
    assert difference == pytest.approx(of(np.arange(30)))
    width = high - low
    assert abs(low - interval.low) < 0.15 * width
    assert abs(high - interval.high) < 0.15 * width
    # What is hard for both cancels out.
    alone = metrics.intervals(counts[0], NAMES)["mean_iou"]
    assert width < 0.5 * (alone[1] - alone[0])
    same = metrics.differences(counts[0], counts[0], NAMES)
    assert set(same.values()) == {(0.0, 0.0, 0.0)}
