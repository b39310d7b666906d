"""The optional metrics that `config.eval.metrics` adds to those of the confusion matrix."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.errors import UserError, unknown
from fcnjax.metrics.boundaries import boundary_scores
from fcnjax.metrics.confusion import OVERALL, PER_CLASS, mean_of_defined
from fcnjax.metrics.histograms import (
    CONFIDENCE_BINS,
    ODDS_BINS,
    auroc,
    average_precision,
    calibration,
    confidence_counts,
    odds_counts,
)
from fcnjax.metrics.valid_mask import valid_mask


class Histogram(NamedTuple):
    """A histogram that is counted on the device: name, number of bins, and function."""

    name: str
    bins: int
    count: Callable[..., jax.Array]


CONFIDENCES = Histogram("confidence", CONFIDENCE_BINS, confidence_counts)
ODDS = Histogram("odds", ODDS_BINS, odds_counts)


@dataclass(frozen=True)
class MetricSpec:
    """A row of the table of optional metrics.

    Attributes:
        title: Title in tables.
        reference: The paper or library.
        histogram: The histogram that it is computed from. Metrics without one are computed for each
            image and class on the host, and averaged.
        compute: Computes it from the counts, and returns scores by name.
        lower: True if lower is better.
        in_percent: True if it is a share of 1.
    """

    title: str
    reference: str
    histogram: Histogram | None = None
    compute: Callable[[np.ndarray], dict[str, Any]] | None = None
    lower: bool = False
    in_percent: bool = True

    @property
    def per_class(self) -> bool:
        """True for a metric of each image and class."""
        return self.histogram is None


EXTRA: Mapping[str, MetricSpec] = {
    "boundary_f1": MetricSpec("boundary F1", "Csurka et al. 2013"),
    "hausdorff95": MetricSpec("Hausdorff 95", "as in MONAI", lower=True, in_percent=False),
    "surface_distance": MetricSpec("surface dist.", "as in MONAI", lower=True, in_percent=False),
    "calibration_error": MetricSpec(
        "calibration error", "Guo et al. 2017", CONFIDENCES, calibration, lower=True
    ),
    "auroc": MetricSpec("area under ROC", "as in scikit-learn", ODDS, auroc),
    "average_precision": MetricSpec(
        "average precision", "as in scikit-learn", ODDS, average_precision
    ),
}
_PART_PIXELS = 2**16  # of an image, whose histograms are counted at once
LOSS = "loss"  # the mean over the evaluated images of the loss that the model was trained with
EXTRA_PER_CLASS = tuple(name for name, spec in EXTRA.items() if spec.per_class)


def lower_is_better(name: str) -> bool:
    """Return whether lower values of a score, such as `mean_hausdorff95`, are better."""
    metric = metric_of(name)
    return metric == LOSS or (metric in EXTRA and EXTRA[metric].lower)


def metric_of(score: str) -> str:
    """Return the metric of a score: `hausdorff95` of `mean_hausdorff95` or `hausdorff95/CLASS`."""
    return score.split("/")[0].removeprefix("mean_")


def check_eval(config: ConfigDict) -> None:
    """Raise UserError for invalid metrics in a resolved `config.eval`."""
    section, classes = config.eval, tuple(config.data.class_names)
    check_section(section, "eval")
    for name in section.metrics:
        if name not in EXTRA:
            raise unknown("config.eval.metrics", str(name), EXTRA)
        if EXTRA[name].histogram is ODDS and len(classes) != 2:
            raise UserError(
                f"config.eval.metrics: {name} needs two classes, but there are {len(classes)}"
            )
    _check_best(section, classes)


def _check_best(section: ConfigDict, classes: tuple[str, ...]) -> None:
    best = section.best_metric
    if not best:
        return
    extra_per_class = [name for name in section.metrics if EXTRA[name].per_class]
    per_class = [*PER_CLASS, *extra_per_class]
    overall = [
        *OVERALL,
        LOSS,
        *(f"mean_{name}" for name in extra_per_class),
        *(name for name in section.metrics if not EXTRA[name].per_class),
    ]
    if best in overall or best in {f"{name}/{label}" for name in per_class for label in classes}:
        return
    metric = metric_of(best)
    if metric in EXTRA and metric not in section.metrics:
        raise UserError(
            f"config.eval.best_metric: {best} needs {metric} in config.eval.metrics, which is "
            f"{tuple(section.metrics)}"
        )
    valid = [*overall, *(f"{name}/CLASS" for name in per_class), ""]
    raise unknown("config.eval.best_metric", best, valid)


def _histograms(names: Sequence[str]) -> list[Histogram]:
    """Return the histograms that metrics need, each once, sorted by name."""
    needed = {EXTRA[name].histogram for name in names} - {None}
    return sorted(needed, key=lambda histogram: histogram.name)


def device_counts(
    names: tuple[str, ...],
    probabilities: jax.Array,
    labels: jax.Array,
    ignore_label: int,
    valid: jax.Array,
) -> dict[str, jax.Array]:
    """Count the histograms of a batch that metrics need, int32, by the name of the histogram.

    Args:
        names: Names of metrics in `EXTRA`.
        probabilities: Float [B, H, W, C].
        labels: Integer [B, H, W].
        ignore_label: Label of pixels that do not count.
        valid: Bool [B], false for examples that do not count.
    """
    labels = labels.astype(np.int32)
    mask = valid_mask(labels, probabilities.shape[-1], ignore_label, valid)
    return {each.name: each.count(probabilities, labels, mask) for each in _histograms(names)}


_count_part = jax.jit(device_counts, static_argnames=("names", "ignore_label"))


def image_histograms(
    names: Sequence[str], probabilities: np.ndarray, label: np.ndarray, ignore_label: int
) -> dict[str, np.ndarray]:
    """Count the histograms of one image as `device_counts` does, by one program for all sizes.

    Args:
        names: Names of metrics in `EXTRA`.
        probabilities: Float [H, W, C].
        label: Integer [H, W].
        ignore_label: Label of pixels that do not count.

    Returns:
        Int64, by the name of the histogram.
    """
    totals = {each.name: np.zeros((each.bins, 2), np.int64) for each in _histograms(names)}
    pixels = probabilities.reshape(-1, probabilities.shape[-1])
    labels = label.reshape(-1).astype(np.int32)
    for start in range(0, len(labels) if totals else 0, _PART_PIXELS):
        part = slice(start, start + _PART_PIXELS)
        padding = (0, _PART_PIXELS - len(labels[part]))
        counts = _count_part(
            names=tuple(names),
            probabilities=np.pad(pixels[part], (padding, (0, 0)))[None, None],
            labels=np.pad(labels[part], padding, constant_values=ignore_label)[None, None],
            ignore_label=ignore_label,
            valid=np.ones(1, bool),
        )
        for name, count in counts.items():
            totals[name] += np.asarray(count)
    return totals


class ExtraScores:
    """The counts for the metrics of `config.eval.metrics`.

    Attributes:
        on_host: True if each image must be passed to `add_image`.
        images: Scores of each host metric, image and class, float64 [M, N, C].
    """

    def __init__(self, config: ConfigDict, num_images: int):
        """Create an empty state.

        Args:
            config: A resolved config, whose `eval` was checked by `check_eval`.
            num_images: The largest number of images.
        """
        self._config = config
        self._classes = tuple(config.data.class_names)
        names = tuple(config.eval.metrics)
        self._on_device = [name for name in names if not EXTRA[name].per_class]
        self._on_host = [name for name in names if EXTRA[name].per_class]
        self._counts = {
            each.name: np.zeros((each.bins, 2), np.int64) for each in _histograms(names)
        }
        # A row for each image, so that the mean does not depend on the order or on who fills it.
        self.images = np.full((len(self._on_host), num_images, len(self._classes)), np.nan)
        self.on_host = bool(self._on_host)

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add the histograms of a batch from `device_counts`."""
        for name, total in self._counts.items():
            total += np.asarray(counts[name])

    def add_image(self, index: int, label: np.ndarray, prediction: np.ndarray) -> None:
        """Score an image, given its index among all, and its label and prediction `[H, W]`."""
        section = self._config.eval
        scores = boundary_scores(
            label,
            prediction,
            len(self._classes),
            self._config.data.ignore_label,
            tolerance=section.boundary_tolerance,
            spacing=tuple(map(float, section.spacing)) or (1.0, 1.0),
        )
        for row, name in enumerate(self._on_host):
            self.images[row, index] = scores[name]

    def compute(self) -> dict[str, Any]:
        """Return the scores: `{"auroc": 0.9, "auroc_bound": 1e-4, "boundary_f1": {...}, ...}`.

        The score of a class is its mean over the images that have it, in label or prediction.
        `mean_NAME` is the mean over the classes. Scores are nan if there was nothing to score.
        """
        scores: dict[str, Any] = {}
        for name in self._on_device:
            spec = EXTRA[name]
            scores |= spec.compute(self._counts[spec.histogram.name])
        for name, images in zip(self._on_host, self.images, strict=True):
            values = [mean_of_defined(column) for column in images.T]
            scores[name] = dict(zip(self._classes, values, strict=True))
            scores[f"mean_{name}"] = mean_of_defined(np.asarray(values))
        return scores
