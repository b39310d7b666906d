"""Calibration and ranking metrics, from histograms of probabilities counted on the device.

The counts are integers, which add up exactly over batches, devices and hosts. The error due to the
bins is bounded, and ranking metrics return their bound.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

RELIABILITY_BINS = 15  # of equal width, as Guo et al. (2017)
# Each consists of 256 narrow bins, so that the mean confidence is known to 1/7680.
CONFIDENCE_BINS = 256 * RELIABILITY_BINS
# Bins of the log-odds of the second class. The probabilities of a trained model are near 0 and 1:
# bins of equal width in probability would have nearly all pixels in two of them.
ODDS_BINS, ODDS_LIMIT = 8192, 32.0


def _count(index: jax.Array, cells: int) -> jax.Array:
    """Count how often each cell occurs in `index` `[B, H, W]`, int32 `[cells]`."""

    def count(cell: jax.Array) -> jax.Array:
        return jnp.zeros(cells, jnp.int32).at[cell].add(1, mode="drop")

    # Each example by itself, so that a sharded batch is counted in place.
    return jax.vmap(count)(index.reshape(index.shape[0], -1)).sum(0)


def confidence_counts(probabilities: jax.Array, labels: jax.Array, counted: jax.Array) -> jax.Array:
    """Count pixels by the probability of the predicted class, and whether it is their label.

    Args:
        probabilities: Float [B, H, W, C].
        labels: Integer [B, H, W].
        counted: Bool [B, H, W].

    Returns:
        Int32 [CONFIDENCE_BINS, 2]: wrong, right.
    """
    confidence = probabilities.max(-1)
    is_right = probabilities.argmax(-1) == labels
    bins = jnp.clip((confidence * CONFIDENCE_BINS).astype(jnp.int32), 0, CONFIDENCE_BINS - 1)
    cells = 2 * CONFIDENCE_BINS
    return _count(jnp.where(counted, 2 * bins + is_right, cells), cells).reshape(-1, 2)


def odds_counts(probabilities: jax.Array, labels: jax.Array, counted: jax.Array) -> jax.Array:
    """Count pixels by the log-odds of the second of two classes, and by their label.

    Args:
        probabilities: Float [B, H, W, 2].
        labels: Integer [B, H, W].
        counted: Bool [B, H, W].

    Returns:
        Int32 [ODDS_BINS, 2]: of label 0, of label 1.
    """
    odds = jnp.log(probabilities[..., 1]) - jnp.log(probabilities[..., 0])
    scaled = (odds + ODDS_LIMIT) * (ODDS_BINS / (2 * ODDS_LIMIT))
    bins = jnp.clip(scaled, 0, ODDS_BINS - 1).astype(jnp.int32)
    cells = 2 * ODDS_BINS
    return _count(jnp.where(counted, 2 * bins + (labels == 1), cells), cells).reshape(-1, 2)


def calibration(counts: np.ndarray) -> dict[str, Any]:
    """Compute the expected calibration error and the bins of a reliability diagram.

    Guo et al., On Calibration of Modern Neural Networks (2017): the mean over pixels of the
    difference between confidence and accuracy of their bin. A confidence counts as the middle of
    its narrow bin, so that the error is known to 1/7680.

    Args:
        counts: Integer [CONFIDENCE_BINS, 2] from `confidence_counts`.

    Returns:
        `calibration_error` in 0..1 (nan without pixels), and `reliability`: for each bin that has
        pixels its `low`, `high`, `confidence`, `accuracy` and `share` of all pixels.
    """
    counts = np.asarray(counts, np.float64)
    middles = (np.arange(CONFIDENCE_BINS) + 0.5) / CONFIDENCE_BINS
    pixels = counts.sum(1).reshape(RELIABILITY_BINS, -1)
    sums = (counts.sum(1) * middles).reshape(RELIABILITY_BINS, -1).sum(1)
    right = counts[:, 1].reshape(RELIABILITY_BINS, -1).sum(1)
    sizes, total = pixels.sum(1), pixels.sum()
    if not total:
        return {"calibration_error": float("nan"), "reliability": []}
    bins = [
        {
            "low": i / RELIABILITY_BINS,
            "high": (i + 1) / RELIABILITY_BINS,
            "confidence": float(sums[i] / sizes[i]),
            "accuracy": float(right[i] / sizes[i]),
            "share": float(sizes[i] / total),
        }
        for i in np.flatnonzero(sizes)
    ]
    error = sum(each["share"] * abs(each["confidence"] - each["accuracy"]) for each in bins)
    return {"calibration_error": error, "reliability": bins}


def auroc(counts: np.ndarray) -> dict[str, float]:
    """Compute the area under the ROC curve, and a bound of its error due to the bins.

    The area is the share of pairs of a pixel of each label that are ranked correctly. A pair within
    one bin counts by half, in the area and in the bound.

    Args:
        counts: Integer [ODDS_BINS, 2] from `odds_counts`.

    Returns:
        `auroc` and `auroc_bound`, in 0..1; nan if one of the labels is absent.
    """
    negatives, positives = np.asarray(counts, np.float64).T
    pairs = negatives.sum() * positives.sum()
    if not pairs:
        return {"auroc": float("nan"), "auroc_bound": float("nan")}
    below = np.cumsum(negatives) - negatives
    half = (positives * negatives).sum() / 2
    area = ((positives * below).sum() + half) / pairs
    return {"auroc": float(area), "auroc_bound": float(half / pairs)}


def average_precision(counts: np.ndarray) -> dict[str, float]:
    """Compute the mean precision over the pixels of label 1, and a bound of its error.

    Like scikit-learn's `average_precision_score`, with the bins as thresholds. The precision of a
    pixel lies between the values with all label-0 pixels of its bin ranked before it and after it.

    Args:
        counts: Integer [ODDS_BINS, 2] from `odds_counts`.

    Returns:
        `average_precision` and `average_precision_bound`, in 0..1; nan if label 1 is absent.
    """
    negatives, positives = np.asarray(counts, np.float64)[::-1].T
    if not positives.sum():
        return {"average_precision": float("nan"), "average_precision_bound": float("nan")}
    occupied = positives > 0
    true, false = np.cumsum(positives), np.cumsum(negatives)
    before_true, before_false = (true - positives)[occupied], (false - negatives)[occupied]
    share = positives[occupied] / positives.sum()
    true, false = true[occupied], false[occupied]
    value = true / (true + false)
    upper = np.maximum(true / (true + before_false), value)
    lower = np.minimum((before_true + 1) / (before_true + 1 + false), value)
    error = np.maximum(upper - value, value - lower)
    return {
        "average_precision": float((share * value).sum()),
        "average_precision_bound": float((share * error).sum()),
    }
