"""Scores of single images, and bootstrap confidence intervals of the overall scores."""

from collections.abc import Sequence

import numpy as np

DRAWS = 1000
PERCENTILES = (2.5, 97.5)  # of the draws: an interval of 95 %
_BATCH = 50  # draws


def image_counts(matrices: np.ndarray) -> np.ndarray:
    """Return the hits, labels and predictions of each class, from confusion matrices `[B, C, C]`.

    Returns:
        `[B, 3, C]`, from which IoU and Dice follow.
    """
    hits = matrices.diagonal(axis1=-2, axis2=-1)
    return np.stack([hits, matrices.sum(-1), matrices.sum(-2)], 1)


def image_scores(counts: np.ndarray) -> np.ndarray:
    """Return one score in 0..1 for each image, to find the worst ones.

    With two classes it is the Dice of the second; with more, the mean IoU over the classes that are
    in label or prediction, or nan if there are none.

    Args:
        counts: `[N, 3, C]` from `image_counts`.
    """
    iou, dice = _ratios(counts)
    return dice[:, 1] if counts.shape[-1] == 2 else _mean(iou)


def intervals(
    counts: np.ndarray, class_names: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Compute 95 % confidence intervals of the scores by the percentile bootstrap.

    The images are drawn with replacement (Efron and Tibshirani 1993). The intervals show how much
    the scores depend on the choice of held-out images, not what another training would give. With
    fewer than about ten images they are too narrow.

    Args:
        counts: `[N, 3, C]` from `image_counts`.
        class_names: C names.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        `{"mean_iou": (low, high), "mean_dice": ..., "iou/NAME": ..., "dice/NAME": ...}`; nan if a
        score is nan in all draws.
    """
    scores = _draw_scores(counts, class_names, draws, seed)
    return {name: _percentiles(values) for name, values in scores.items()}


def differences(
    one: np.ndarray,
    other: np.ndarray,
    class_names: Sequence[str],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """Compute how much better one model scores than another on the same images.

    The intervals come from the paired bootstrap: each draw scores both models on the same images,
    so that images that are hard for both cancel out. If an interval is above 0, the images agree
    on which model is better.

    Args:
        one: `[N, 3, C]` from `image_counts`.
        other: The same of the other model.
        class_names: C names.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        By the names of `intervals`: the difference and the ends of its 95 % interval.
    """
    drawn, other_drawn = (_draw_scores(counts, class_names, draws, seed) for counts in (one, other))
    scores, other_scores = (
        _scores(counts.sum(0, keepdims=True), class_names) for counts in (one, other)
    )
    return {
        name: (
            float((scores[name] - other_scores[name])[0]),
            *_percentiles(drawn[name] - other_drawn[name]),
        )
        for name in drawn
    }


def _draw_scores(
    counts: np.ndarray, class_names: Sequence[str], draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the scores `[draws]` of draws of the images, which depend on the seed alone."""
    rng, num_images = np.random.default_rng(seed), len(counts)
    if not num_images or not draws:
        return _scores(np.zeros((1, *counts.shape[1:])), class_names)
    flat = counts.reshape(num_images, counts.shape[1] * counts.shape[2]).astype(np.float64)
    sums = []
    for start in range(0, draws, _BATCH):
        size = min(_BATCH, draws - start)
        times = rng.multinomial(num_images, np.full(num_images, 1 / num_images), size)
        sums.append((times @ flat).reshape(size, *counts.shape[1:]))
    return _scores(np.concatenate(sums), class_names)


def _scores(sums: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return each score by name, `[D]`, of sums of counts `[D, 3, C]`."""
    iou, dice = _ratios(sums)
    scores = {"mean_iou": _mean(iou), "mean_dice": _mean(dice)}
    for key, values in (("iou", iou), ("dice", dice)):
        scores |= {f"{key}/{name}": values[:, i] for i, name in enumerate(class_names)}
    return scores


def _ratios(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return IoU and Dice of counts `[..., 3, C]`; nan for classes that do not occur."""
    hits, labelled, predicted = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    total = labelled + predicted
    total = np.where(total > 0, total, np.nan)
    return hits / (total - hits), 2 * hits / total


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of the values that are not nan."""
    defined = ~np.isnan(values)
    count = defined.sum(-1)
    return np.where(defined, values, 0).sum(-1) / np.where(count > 0, count, np.nan)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, PERCENTILES) if defined.size else (np.nan, np.nan)
    return float(low), float(high)
