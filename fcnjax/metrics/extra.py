"""The scores that `config.eval.metrics` asks for beside those of the confusion matrix."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.errors import UserError, unknown
from fcnjax.metrics.boundaries import boundary_scores
from fcnjax.metrics.confusion import OVERALL, PER_CLASS, mean_of_known
from fcnjax.metrics.histograms import (
    CONFIDENCE_BINS,
    ODDS_BINS,
    auroc,
    average_precision,
    calibration,
    confidence_counts,
    odds_counts,
)


class Extra(NamedTuple):
    """A score that is asked for by name.

    Attributes:
        title: In a table's head or a line of text.
        per_class: Whether it is one of each image and class, found on the host.
        counts: The histogram that it is of, in `_HISTOGRAMS`; None of one on the host.
        lower: Whether less is better.
        in_percent: Whether it is a part of 1.
    """

    title: str
    per_class: bool = False
    counts: str | None = None
    lower: bool = False
    in_percent: bool = True


EXTRA: Mapping[str, Extra] = {
    "boundary_f1": Extra("boundary F1", per_class=True),
    "hausdorff95": Extra("Hausdorff 95", per_class=True, lower=True, in_percent=False),
    "surface_distance": Extra("surface dist.", per_class=True, lower=True, in_percent=False),
    "calibration_error": Extra("calibration error", counts="confidence", lower=True),
    "auroc": Extra("area under ROC", counts="odds"),
    "average_precision": Extra("average precision", counts="odds"),
}
EXTRA_PER_CLASS = tuple(name for name, extra in EXTRA.items() if extra.per_class)
_HISTOGRAMS: Mapping[str, tuple[int, Callable[..., jax.Array]]] = {
    "confidence": (CONFIDENCE_BINS, confidence_counts),
    "odds": (ODDS_BINS, odds_counts),
}


def lower_is_better(name: str) -> bool:
    """Whether less is better of a score's name, as `mean_hausdorff95` or `hausdorff95/vessel`."""
    own = name.split("/")[0].removeprefix("mean_")
    return own in EXTRA and EXTRA[own].lower


def check_eval(config: ConfigDict) -> None:
    """Raises UserError for a key of a resolved `config.eval` on metrics that cannot be."""
    section, classes = config.eval, tuple(config.data.class_names)
    check_section(section, "eval")
    for name in section.metrics:
        if name not in EXTRA:
            raise unknown("config.eval.metrics", str(name), EXTRA)
        if EXTRA[name].counts == "odds" and len(classes) != 2:
            raise UserError(
                f"config.eval.metrics: {name} is of two classes, and there are {len(classes)}"
            )
    _check_best(section, classes)


def _check_best(section: ConfigDict, classes: tuple[str, ...]) -> None:
    best = section.best_metric
    if not best:
        return
    single = [name for name in section.metrics if not EXTRA[name].per_class]
    many = [*PER_CLASS, *(name for name in section.metrics if EXTRA[name].per_class)]
    means = [f"mean_{name}" for name in section.metrics if EXTRA[name].per_class]
    plain = [*OVERALL, *means, *single]
    if best in plain or best in {f"{name}/{of}" for name in many for of in classes}:
        return
    own = best.split("/")[0].removeprefix("mean_")
    if own in EXTRA and own not in section.metrics:
        raise UserError(
            f"config.eval.best_metric: {best} needs {own} in config.eval.metrics, which is "
            f"{tuple(section.metrics)}"
        )
    raise unknown("config.eval.best_metric", best, [*plain, *(f"{n}/CLASS" for n in many), ""])


def device_counts(
    names: tuple[str, ...],
    probabilities: jax.Array,
    labels: jax.Array,
    ignore_label: int,
    valid: jax.Array,
) -> dict[str, jax.Array]:
    """The histograms that the named scores need, int32, of a batch.

    Args:
        names: Of `EXTRA`.
        probabilities: Float [B, H, W, C].
        labels: Integer [B, H, W].
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count.
    """
    labels = labels.astype(np.int32)
    counted = (labels != ignore_label) & (labels >= 0) & (labels < probabilities.shape[-1])
    counted &= valid[:, None, None]
    needed = {EXTRA[name].counts for name in names} - {None}
    return {key: _HISTOGRAMS[key][1](probabilities, labels, counted) for key in sorted(needed)}


class ExtraScores:
    """What is counted for the scores of `config.eval.metrics`.

    Attributes:
        on_host: Whether each image's mask is to be given to `add_image`.
    """

    def __init__(self, config: ConfigDict, num_images: int):
        """Makes an empty state.

        Args:
            config: A resolved config, whose `eval` was checked by `check_eval`.
            num_images: How many there are, at most.
        """
        self._names = tuple(config.eval.metrics)
        self._config = config
        self._classes = tuple(config.data.class_names)
        counts = {EXTRA[name].counts for name in self._names} - {None}
        self._counts = {key: np.zeros((_HISTOGRAMS[key][0], 2), np.int64) for key in counts}
        host = [name for name in self._names if EXTRA[name].per_class]
        # A row an image: whoever fills it, and in whatever order, the mean is the same.
        self.images = np.full((len(host), num_images, len(self._classes)), np.nan)
        self._host = host
        self.on_host = bool(host)

    def add(self, counts: Mapping[str, Any]) -> None:
        """Adds the histograms of a batch, as of `device_counts`."""
        for key, total in self._counts.items():
            total += np.asarray(counts[key])

    def add_image(self, index: int, label: np.ndarray, prediction: np.ndarray) -> None:
        """Scores an image, given its place among all, and its label and prediction `[H, W]`."""
        section = self._config.eval
        scores = boundary_scores(
            label,
            prediction,
            len(self._classes),
            self._config.data.ignore_label,
            tolerance=section.boundary_tolerance,
            spacing=tuple(map(float, section.spacing)) or (1.0, 1.0),
        )
        for row, name in enumerate(self._host):
            self.images[row, index] = scores[name]

    def compute(self) -> dict[str, Any]:
        """The scores: `{"auroc": 0.9, "auroc_bound": 1e-4, "boundary_f1": {"vessel": ...}, ...}`.

        A score of each class is its mean over the images that it is in, label or prediction; with
        it comes `mean_NAME`, over the classes. nan where there was nothing to score.
        """
        scores: dict[str, Any] = {}
        for name in self._names:
            if name == "calibration_error":
                scores |= calibration(self._counts["confidence"])
            elif EXTRA[name].counts == "odds":
                of = auroc if name == "auroc" else average_precision
                scores[name], scores[f"{name}_bound"] = of(self._counts["odds"])
        for name, images in zip(self._host, self.images, strict=True):
            values = [mean_of_known(column) for column in images.T]
            scores[name] = dict(zip(self._classes, values, strict=True))
            scores[f"mean_{name}"] = mean_of_known(np.asarray(values))
        return scores
