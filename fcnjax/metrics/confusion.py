"""Metrics of the confusion matrix, which is counted on the device and summed on the host.

Counts add up over batches, devices and hosts. Ratios are taken once, at the end, in float64: scores
of batches are never averaged.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.metrics.valid_mask import valid_mask

PER_CLASS = ("iou", "dice", "precision", "recall")
OVERALL = ("mean_iou", "mean_dice", "mean_accuracy", "pixel_accuracy", "fw_iou")


def confusion_counts(
    labels: jax.Array,
    predictions: jax.Array,
    num_classes: int,
    ignore_label: int,
    valid: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Count the pixels by label and prediction, exactly (up to 2^31 - 1 in a cell).

    Ignored pixels are masked first, and so are labels outside 0..num_classes-1, which are never
    taken for another class (reading the data refuses them earlier). No array has the size of the
    matrix for each example. A batch sharded over devices is counted in place, and only counts are
    summed.

    Args:
        labels: Integer [B, H, W].
        predictions: Integer [B, H, W].
        num_classes: C.
        ignore_label: Label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.

    Returns:
        The confusion matrix of the batch, int32 [C, C] (rows are labels, columns predictions), and
        the counts of each example, int32 [B, 3, C], as `image_counts` returns them.
    """
    labels, predictions = labels.astype(jnp.int32), predictions.astype(jnp.int32)
    counted = valid_mask(labels, num_classes, ignore_label)
    counted &= (predictions >= 0) & (predictions < num_classes)
    if valid is not None:
        counted &= valid[:, None, None]

    def count(cell: jax.Array, cells: int) -> jax.Array:
        return jnp.zeros(cells, jnp.int32).at[cell].add(1, mode="drop")

    # The number of cells is one past the end, where mode="drop" drops it.
    cells = num_classes * num_classes
    # Without a reshape, whose result could not be sharded over examples and rows.
    matrix = count(jnp.where(counted, labels * num_classes + predictions, cells), cells)
    is_hit = counted & (labels == predictions)
    classes = jnp.stack(
        [
            jnp.where(is_hit, labels, num_classes),
            jnp.where(counted, labels, num_classes),
            jnp.where(counted, predictions, num_classes),
        ],
        1,
    )
    images = jax.vmap(jax.vmap(lambda each: count(each, num_classes)))(classes)
    return matrix.reshape(num_classes, num_classes), images


def confusion_matrix(
    label: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Count one image on the host: int64 [C, C] of a label and a prediction [H, W]."""
    label, prediction = label.astype(np.int64), prediction.astype(np.int64)
    counted = valid_mask(label, num_classes, ignore_label)
    cells = label[counted] * num_classes + prediction[counted]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


class ConfusionState:
    """A confusion matrix that batches add to, int64 on the host.

    Attributes:
        counts: Int64 [C, C]: rows are labels, columns predictions.
    """

    def __init__(self, num_classes: int):
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, counts: Any) -> None:
        """Add the matrix of a batch, integer [C, C], and wait for the device.

        Raises:
            ValueError: The matrix has another number of classes.
        """
        counts = np.asarray(counts)
        if counts.shape != self.counts.shape:
            raise ValueError(f"a matrix of {counts.shape} cannot be added to {self.counts.shape}")
        self.counts += counts

    def merge(self, other: "ConfusionState") -> None:
        """Add the counts of another state."""
        self.add(other.counts)


def compute(
    confusion: np.ndarray, class_names: Sequence[str], scored: Sequence[int] | None = None
) -> dict[str, Any]:
    """Compute all scores of a confusion matrix, each in 0..1, in float64.

    Per class: `iou` TP / (TP + FP + FN), `dice` 2 TP / (2 TP + FP + FN), `precision`
    TP / (TP + FP), `recall` TP / (TP + FN). Overall: `pixel_accuracy`; `mean_iou` and `mean_dice`;
    `mean_accuracy`, the mean recall; `fw_iou`, the mean IoU weighted by the number of labels
    (Long et al., Fully Convolutional Networks, 2015).

    A ratio of 0 to 0 is nan and left out of the mean: IoU and Dice of a class that is in neither
    labels nor predictions, precision of a class that is never predicted, recall of a class without
    labels. A class that is only predicted has an IoU of 0, which counts.

    Args:
        confusion: Integer [C, C]: rows are labels, columns predictions.
        class_names: C names.
        scored: The classes that have scores, of a dataset that has not all; None: all.

    Returns:
        `{"mean_iou": 0.8, ..., "iou": {"vessel": 0.7, ...}, "dice": {...}, ...}`.

    Raises:
        ValueError: The numbers of names and classes differ.
    """
    counts = np.asarray(confusion, np.float64)
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"{len(class_names)} names for a matrix of {counts.shape}")
    chosen = list(range(len(class_names)) if scored is None else scored)
    class_names = [class_names[i] for i in chosen]
    hits = np.diag(counts)[chosen]
    labelled, predicted = counts.sum(1)[chosen], counts.sum(0)[chosen]
    scores = {
        "iou": _ratio(hits, labelled + predicted - hits),
        "dice": _ratio(2 * hits, labelled + predicted),
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, labelled),
    }
    total = counts.sum()
    present = labelled > 0  # a class without labels has no weight, and its IoU may be nan
    overall = {
        "mean_iou": mean_of_defined(scores["iou"]),
        "mean_dice": mean_of_defined(scores["dice"]),
        "mean_accuracy": mean_of_defined(scores["recall"]),
        "pixel_accuracy": float(_ratio(hits.sum(), total)),
        "fw_iou": float(_ratio((labelled[present] * scores["iou"][present]).sum(), total)),
    }
    names = {
        key: dict(zip(class_names, values.tolist(), strict=True)) for key, values in scores.items()
    }
    return overall | names


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    # A division by nan, not by 0, gives no warning.
    return numerator / np.where(denominator > 0, denominator, np.nan)


def mean_of_defined(values: np.ndarray) -> float:
    """Return the mean of the values that are not nan; nan if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def percent(value: float | None) -> str:
    """Format a score in 0..1 as percent with two digits, `-` for nan or None."""
    return "-" if value is None or value != value else f"{100 * value:.2f}"
