"""Agreement of two annotators of the same images."""

import numpy as np
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.data.source import Source
from fcnjax.errors import UserError

AGREEMENT_FILE = "agreement.json"


def check_metrics(config: ConfigDict) -> None:
    """Raise UserError for metrics that cannot be computed from masks alone."""
    metrics.check_eval(config)
    for name in config.eval.metrics:
        if name not in metrics.EXTRA_PER_CLASS:
            raise UserError(
                f"config.eval.metrics: {name} needs probabilities, but these are masks; valid "
                f"here: {', '.join(metrics.EXTRA_PER_CLASS)}"
            )


def agreement(one: Source, other: Source, config: ConfigDict) -> tuple[np.ndarray, dict]:
    """Score the masks of `other` as predictions of those of `one`.

    A pixel that either annotator ignores is not counted. Both sources must have the same order.

    Returns:
        The confusion matrix, int64 `[C, C]`, and all scores.

    Raises:
        UserError: The two do not have the same images.
    """
    names, ignore = tuple(config.data.class_names), config.data.ignore_label
    if len(one) != len(other):
        raise UserError(f"--other: has {len(other)} images, but the first has {len(one)}")
    confusion = metrics.ConfusionState(len(names))
    extra = metrics.ExtraScores(config, len(one))
    for row in range(len(one)):
        first, second = one[row], other[row]
        label, prediction = (np.asarray(each["label"], np.int64) for each in (first, second))
        if first["name"] != second["name"] or label.shape != prediction.shape:
            raise UserError(
                f"--other: image {row} is {second['name']} {prediction.shape}, but the first "
                f"annotator's is {first['name']} {label.shape}"
            )
        label = np.where(prediction == ignore, ignore, label)
        confusion.add(metrics.confusion_matrix(label, prediction, len(names), ignore))
        if extra.on_host:
            extra.add_image(row, label, prediction)
    return confusion.counts, metrics.compute(confusion.counts, names) | extra.compute()
