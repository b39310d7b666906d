"""Scores of single images, and how sure the score of all is: by drawing the images anew."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

DRAWS = 1000
PERCENT = (2.5, 97.5)  # between which 95 % of the draws lie
_AT_ONCE = 50  # draws


def image_counts(matrices: jax.Array) -> jax.Array:
    """Of each image's confusion matrix `[B, C, C]` the hits, labels and predictions of a class.

    Returns:
        Int32 `[B, 3, C]`: all that IoU and Dice are made of.
    """
    hits = jnp.diagonal(matrices, axis1=-2, axis2=-1)
    return jnp.stack([hits, matrices.sum(-1), matrices.sum(-2)], 1)


def image_scores(counts: np.ndarray) -> np.ndarray:
    """One score in 0..1 for each image, by which the worst are found.

    Of two classes the second one's Dice, of more the mean IoU over the classes that are in label or
    prediction; nan where there are none.

    Args:
        counts: `[N, 3, C]` of `image_counts`.
    """
    iou, dice = _ratios(counts)
    return dice[:, 1] if counts.shape[-1] == 2 else _mean(iou)


def intervals(
    counts: np.ndarray, class_names: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Where the scores lie in 95 % of all draws of as many images, with replacement.

    The percentile bootstrap (Efron and Tibshirani 1993). It tells how much hangs on which images
    were held out; not what another training would give. Of fewer than about ten images it is too
    narrow.

    Args:
        counts: `[N, 3, C]` of `image_counts`.
        class_names: C names.
        draws: How many.
        seed: Of the draws.

    Returns:
        `{"mean_iou": (low, high), "mean_dice": ..., "iou/NAME": ..., "dice/NAME": ...}`; nan where
        a score is nan in all draws.
    """
    found = _drawn_scores(counts, class_names, draws, seed)
    return {name: _percentiles(values) for name, values in found.items()}


def differences(
    one: np.ndarray,
    other: np.ndarray,
    class_names: Sequence[str],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """How much better one model is scored than another on the same images, and how sure that is.

    The paired bootstrap: each draw scores both on the same images, so that what is hard for both
    cancels out. Where all of an interval is above 0, the images agree on which is better.

    Args:
        one: `[N, 3, C]` of `image_counts`.
        other: The same of another model.
        class_names: C names.
        draws: How many.
        seed: Of the draws.

    Returns:
        By name, as of `intervals`: the difference, and where it lies in 95 % of all draws.
    """
    mine, theirs = (_drawn_scores(counts, class_names, draws, seed) for counts in (one, other))
    better, worse = (_scores(counts.sum(0, keepdims=True), class_names) for counts in (one, other))
    return {
        name: (float((better[name] - worse[name])[0]), *_percentiles(mine[name] - theirs[name]))
        for name in mine
    }


def _drawn_scores(
    counts: np.ndarray, class_names: Sequence[str], draws: int, seed: int
) -> dict[str, np.ndarray]:
    """The scores `[draws]` of draws of the images, the same images for a seed."""
    rng, number = np.random.default_rng(seed), len(counts)
    flat = counts.reshape(number, counts.shape[1] * counts.shape[2]).astype(np.float64)
    found = []
    for start in range(0, draws if number else 0, _AT_ONCE):
        some = min(_AT_ONCE, draws - start)
        times = rng.multinomial(number, np.full(number, 1 / number), some)
        found.append((times @ flat).reshape(some, *counts.shape[1:]))
    return _scores(
        np.concatenate(found) if found else np.zeros((1, *counts.shape[1:])), class_names
    )


def _scores(sums: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Every score by name, `[D]`, of sums of counts `[D, 3, C]`."""
    iou, dice = _ratios(sums)
    scores = {"mean_iou": _mean(iou), "mean_dice": _mean(dice)}
    for key, values in (("iou", iou), ("dice", dice)):
        scores |= {f"{key}/{name}": values[:, i] for i, name in enumerate(class_names)}
    return scores


def _ratios(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU and Dice of counts `[..., 3, C]`; nan of classes that are nowhere."""
    hits, labelled, predicted = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    both = labelled + predicted
    both = np.where(both > 0, both, np.nan)
    return hits / (both - hits), 2 * hits / both


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not nan."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    return np.where(known, values, 0).sum(-1) / np.where(count > 0, count, np.nan)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, PERCENT) if known.size else (np.nan, np.nan)
    return float(low), float(high)
