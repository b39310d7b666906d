"""Segmentation metrics from counts that add up; ratios are taken once, in float64 on the host."""

from fcnjax.metrics.confusion import (
    OVERALL,
    PER_CLASS,
    ConfusionState,
    compute,
    confusion_counts,
    confusion_matrix,
    percent,
)
from fcnjax.metrics.extra import (
    EXTRA,
    EXTRA_PER_CLASS,
    LOSS,
    ExtraScores,
    check_eval,
    device_counts,
    image_histograms,
    lower_is_better,
    metric_of,
)
from fcnjax.metrics.images import differences, image_counts, image_scores, intervals
from fcnjax.metrics.table import flat, format_table, number
from fcnjax.metrics.valid_mask import valid_mask

__all__ = [
    "EXTRA",
    "EXTRA_PER_CLASS",
    "LOSS",
    "OVERALL",
    "PER_CLASS",
    "ConfusionState",
    "ExtraScores",
    "check_eval",
    "compute",
    "confusion_counts",
    "confusion_matrix",
    "device_counts",
    "differences",
    "flat",
    "format_table",
    "image_counts",
    "image_histograms",
    "image_scores",
    "intervals",
    "lower_is_better",
    "metric_of",
    "number",
    "percent",
    "valid_mask",
]
