"""Calibration and ranking, from histograms of probabilities that are counted on the device.

The counts are whole numbers, so that they add exactly over batches, devices and hosts. What a bin
hides is bounded, and the bound of ranking is part of its result.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

RELIABILITY_BINS = 15  # of equal width, as Guo et al. (2017)
# Each of them holds 256 narrow ones: the mean confidence of a pixel is known to 1/7680.
CONFIDENCE_BINS = 256 * RELIABILITY_BINS
# Of the log-odds of the second class: near 0 and 1, where a trained model's are, bins of equal
# width in probability would hold all pixels in two.
ODDS_BINS, ODDS_LIMIT = 8192, 32.0


def _count(index: jax.Array, cells: int) -> jax.Array:
    """How often each number from 0 on is in `index` `[B, H, W]`, int32 `[cells]`."""

    def one(of: jax.Array) -> jax.Array:
        return jnp.zeros(cells, jnp.int32).at[of].add(1, mode="drop")

    # Each example by itself: a batch over devices is counted where it lies.
    return jax.vmap(one)(index.reshape(index.shape[0], -1)).sum(0)


def confidence_counts(probabilities: jax.Array, labels: jax.Array, counted: jax.Array) -> jax.Array:
    """Counts pixels by the probability of the class they get, and whether that is their label.

    Args:
        probabilities: Float [B, H, W, C].
        labels: Integer [B, H, W].
        counted: Bool [B, H, W].

    Returns:
        Int32 [CONFIDENCE_BINS, 2]: wrong, right.
    """
    confidence = probabilities.max(-1)
    right = probabilities.argmax(-1) == labels
    place = jnp.clip((confidence * CONFIDENCE_BINS).astype(jnp.int32), 0, CONFIDENCE_BINS - 1)
    cells = 2 * CONFIDENCE_BINS
    return _count(jnp.where(counted, 2 * place + right, cells), cells).reshape(-1, 2)


def odds_counts(probabilities: jax.Array, labels: jax.Array, counted: jax.Array) -> jax.Array:
    """Counts pixels by the log-odds of the second of two classes, and by their label.

    Args:
        probabilities: Float [B, H, W, 2].
        labels: Integer [B, H, W].
        counted: Bool [B, H, W].

    Returns:
        Int32 [ODDS_BINS, 2]: of label 0, of label 1.
    """
    odds = jnp.log(probabilities[..., 1]) - jnp.log(probabilities[..., 0])
    scaled = (odds + ODDS_LIMIT) * (ODDS_BINS / (2 * ODDS_LIMIT))
    place = jnp.clip(scaled, 0, ODDS_BINS - 1).astype(jnp.int32)
    cells = 2 * ODDS_BINS
    return _count(jnp.where(counted, 2 * place + (labels == 1), cells), cells).reshape(-1, 2)


def calibration(counts: np.ndarray) -> dict[str, Any]:
    """The expected calibration error and the bins of a reliability diagram.

    Guo et al., On Calibration of Modern Neural Networks (2017): the mean over pixels of the
    difference of confidence and accuracy of their bin. A confidence counts as the middle of its
    narrow bin: the error is known to 1/7680.

    Args:
        counts: Integer [CONFIDENCE_BINS, 2], as of `confidence_counts`.

    Returns:
        `calibration_error` in 0..1 (nan of no pixel), and `reliability`: of each bin that has
        pixels `low`, `high`, `confidence`, `accuracy` and its `share` of all pixels.
    """
    counts = np.asarray(counts, np.float64)
    middles = (np.arange(CONFIDENCE_BINS) + 0.5) / CONFIDENCE_BINS
    pixels = counts.sum(1).reshape(RELIABILITY_BINS, -1)
    sums = (counts.sum(1) * middles).reshape(RELIABILITY_BINS, -1).sum(1)
    rights = counts[:, 1].reshape(RELIABILITY_BINS, -1).sum(1)
    sizes, total = pixels.sum(1), pixels.sum()
    if not total:
        return {"calibration_error": float("nan"), "reliability": []}
    bins = [
        {
            "low": i / RELIABILITY_BINS,
            "high": (i + 1) / RELIABILITY_BINS,
            "confidence": float(sums[i] / sizes[i]),
            "accuracy": float(rights[i] / sizes[i]),
            "share": float(sizes[i] / total),
        }
        for i in np.flatnonzero(sizes)
    ]
    error = sum(own["share"] * abs(own["confidence"] - own["accuracy"]) for own in bins)
    return {"calibration_error": error, "reliability": bins}


def auroc(counts: np.ndarray) -> tuple[float, float]:
    """The area under the ROC curve, and the greatest error of it that the bins can hide.

    The share of pairs of a pixel of each label that are ranked rightly; a pair in one bin counts by
    half, and its bound too.

    Args:
        counts: Integer [ODDS_BINS, 2], as of `odds_counts`.

    Returns:
        Both in 0..1; nan where one of the labels is absent.
    """
    negatives, positives = np.asarray(counts, np.float64).T
    pairs = negatives.sum() * positives.sum()
    if not pairs:
        return float("nan"), float("nan")
    below = np.cumsum(negatives) - negatives
    half = (positives * negatives).sum() / 2
    return float(((positives * below).sum() + half) / pairs), float(half / pairs)


def average_precision(counts: np.ndarray) -> tuple[float, float]:
    """The mean precision over the pixels of label 1, and the greatest error that bins can hide.

    As scikit-learn's `average_precision_score`, with the bins as thresholds. Within a bin a pixel's
    precision lies between that of all the bin's label 0 before it, and that of all after it.

    Args:
        counts: Integer [ODDS_BINS, 2], as of `odds_counts`.

    Returns:
        Both in 0..1; nan where label 1 is absent.
    """
    negatives, positives = np.asarray(counts, np.float64)[::-1].T
    if not positives.sum():
        return float("nan"), float("nan")
    some = positives > 0
    true, false = np.cumsum(positives), np.cumsum(negatives)
    before_true, before_false = (true - positives)[some], (false - negatives)[some]
    share = positives[some] / positives.sum()
    true, false = true[some], false[some]
    value = true / (true + false)
    most = np.maximum(true / (true + before_false), value)
    least = np.minimum((before_true + 1) / (before_true + 1 + false), value)
    error = np.maximum(most - value, value - least)
    return float((share * value).sum()), float((share * error).sum())
