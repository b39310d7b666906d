"""Class thresholds, confidence and entropy of predicted probabilities."""

from collections.abc import Mapping, Sequence

import numpy as np

from fcnjax.errors import UserError, choose


def parse_thresholds(words: Sequence[str], class_names: Sequence[str]) -> dict[int, float]:
    """Parse thresholds such as `vessel:0.3` into a mapping from class id to threshold.

    Raises:
        UserError: A threshold is malformed, names no class, or is not between 0 and 1.
    """
    thresholds = {}
    ids = {name: i for i, name in enumerate(class_names)}
    for word in words:
        name, _, value = word.rpartition(":")
        try:
            threshold = float(value)
        except ValueError:
            threshold = -1
        if not name or not 0 < threshold <= 1:
            raise UserError(f"--threshold: {word!r} is not CLASS:VALUE, with a value in 0..1")
        thresholds[choose(ids, name, "--threshold")] = threshold
    return thresholds


def apply_thresholds(probabilities: np.ndarray, thresholds: Mapping[int, float]) -> np.ndarray:
    """Return the class of each pixel when some classes have a threshold.

    A class with a threshold is predicted where its probability reaches it. If several do, the one
    with the greatest ratio of probability to threshold is. Elsewhere the most probable class
    without a threshold is predicted. If all classes have one and none is reached, the class with
    the greatest ratio is.

    Args:
        probabilities: float `[H, W, C]`.
        thresholds: Thresholds above 0, by class id.

    Returns:
        int64 `[H, W]` class ids.
    """
    ids = np.asarray(sorted(thresholds))
    ratios = probabilities[..., ids] / np.asarray([thresholds[i] for i in ids], np.float32)
    best = ids[ratios.argmax(-1)]
    others = np.setdiff1d(np.arange(probabilities.shape[-1]), ids)
    if not len(others):
        return best
    return np.where(ratios.max(-1) >= 1, best, others[probabilities[..., others].argmax(-1)])


def confidence(probabilities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the probability of the predicted class, float32 `[H, W]` in 0..1."""
    return np.take_along_axis(probabilities, mask[..., None].astype(np.intp), -1)[..., 0]


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the normalised entropy, float32 `[H, W]`: 0 is certain, 1 is uniform.

    For probabilities `[H, W, C]` that sum to 1, the entropy divided by its maximum, `log(C)`. For
    independent sigmoid outputs, the mean binary entropy over classes, in bits.
    """
    p = np.clip(probabilities, np.finfo(np.float32).tiny, 1)
    if np.allclose(probabilities.sum(-1), 1, atol=1e-3):
        return (-(p * np.log(p)).sum(-1) / np.log(p.shape[-1])).astype(np.float32)
    q = np.clip(1 - probabilities, np.finfo(np.float32).tiny, 1)
    return (-(p * np.log(p) + q * np.log(q)).mean(-1) / np.log(2)).astype(np.float32)
