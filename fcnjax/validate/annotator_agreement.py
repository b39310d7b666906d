"""Agreement of two annotators of the same images."""

import numpy as np
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.data.source import Source
from fcnjax.errors import UserError

AGREEMENT_FILE = "agreement.json"


def check_agree(config: ConfigDict) -> None:
    """Raises UserError for scores that masks alone do not give."""
    metrics.check_eval(config)
    for name in config.eval.metrics:
        if name not in metrics.EXTRA_PER_CLASS:
            raise UserError(
                f"config.eval.metrics: {name} needs probabilities, and these are masks; valid "
                f"here: {', '.join(metrics.EXTRA_PER_CLASS)}"
            )


def agreement(one: Source, other: Source, config: ConfigDict) -> tuple[np.ndarray, dict]:
    """Scores the masks of `other` as predictions of those of `one`.

    A pixel that either ignores is not counted. Both read their examples in the same order.

    Returns:
        The confusion matrix, int64 `[C, C]`, and all scores.

    Raises:
        UserError: The two do not have the same images.
    """
    names, ignore = tuple(config.data.class_names), config.data.ignore_label
    size = len(names)
    if len(one) != len(other):
        raise UserError(f"--other: has {len(other)} images, and the first {len(one)}")
    total, extra = metrics.ConfusionState(size), metrics.ExtraScores(config, len(one))
    for row in range(len(one)):
        first, second = one[row], other[row]
        label, guess = (np.asarray(each["label"], np.int64) for each in (first, second))
        if first["name"] != second["name"] or label.shape != guess.shape:
            raise UserError(
                f"--other: image {row} is {second['name']} {guess.shape}, and the first "
                f"annotator's {first['name']} {label.shape}"
            )
        label = np.where(guess == ignore, ignore, label)
        total.add(metrics.confusion_matrix(label, guess, size, ignore))
        if extra.on_host:
            extra.add_image(row, label, guess)
    return total.counts, metrics.compute(total.counts, names) | extra.compute()
