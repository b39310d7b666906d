"""The class of each pixel by thresholds, and how sure a model is."""

from collections.abc import Mapping, Sequence

import numpy as np

from fcnjax.errors import UserError, choose


def parse_thresholds(words: Sequence[str], class_names: Sequence[str]) -> dict[int, float]:
    """Thresholds by class id, of words such as `vessel:0.3`.

    Raises:
        UserError: A word is not of this form, names no class, or is not between 0 and 1.
    """
    found = {}
    for word in words:
        name, _, value = word.rpartition(":")
        try:
            threshold = float(value)
        except ValueError:
            threshold = -1
        if not name or not 0 < threshold <= 1:
            raise UserError(f"--threshold: {word!r} is not CLASS:VALUE, with a value in 0..1")
        ids = {name: i for i, name in enumerate(class_names)}
        found[choose(ids, name, "--threshold")] = threshold
    return found


def classes_by_threshold(probabilities: np.ndarray, thresholds: Mapping[int, float]) -> np.ndarray:
    """The class of each pixel, where some classes have a threshold.

    Such a class is given where its probability reaches its threshold; of several that do, the one
    that exceeds it by the greatest factor. Elsewhere the most probable of the others is given; and
    where all classes have a threshold and none is reached, the one that comes nearest.

    Args:
        probabilities: float `[H, W, C]`.
        thresholds: By class id, above 0.

    Returns:
        int64 `[H, W]` class ids.
    """
    named = np.asarray(sorted(thresholds))
    ratios = probabilities[..., named] / np.asarray([thresholds[i] for i in named], np.float32)
    best = named[ratios.argmax(-1)]
    others = np.setdiff1d(np.arange(probabilities.shape[-1]), named)
    if not len(others):
        return best
    return np.where(ratios.max(-1) >= 1, best, others[probabilities[..., others].argmax(-1)])


def confidence(probabilities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The probability of the class that each pixel was given, float32 `[H, W]`, 0 to 1."""
    return np.take_along_axis(probabilities, mask[..., None].astype(np.intp), -1)[..., 0]


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """How undecided each pixel is, float32 `[H, W]`: 0 where sure, 1 where all are alike.

    The entropy of the probabilities `[H, W, C]`, as a share of the greatest there can be. Those of
    a sigmoid for each class do not sum to 1: there it is the mean of each class's own.
    """
    p = np.clip(probabilities, np.finfo(np.float32).tiny, 1)
    if np.allclose(probabilities.sum(-1), 1, atol=1e-3):
        return (-(p * np.log(p)).sum(-1) / np.log(p.shape[-1])).astype(np.float32)
    q = np.clip(1 - probabilities, np.finfo(np.float32).tiny, 1)
    return (-(p * np.log(p) + q * np.log(q)).mean(-1) / np.log(2)).astype(np.float32)
