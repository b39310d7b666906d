"""The results of an evaluation: how they are accumulated, and their files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.io.atomic_files import atomic, write_json
from fcnjax.reports import write_report
from fcnjax.runtime.packages import to_stderr

METRICS_FILE = "metrics.json"
IMAGES_FILE = "images.npz"


@dataclass
class Results:
    """The results of an evaluation.

    Attributes:
        confusion: `[C, C]` int64 pixel counts, rows by label and columns by prediction.
        class_names: The names of the classes.
        examples: The images with the worst scores, the worst first, with label and prediction, for
            the report.
        left_out: Number of examples that could not be read and are not counted.
        extra: The metrics of `config.eval.metrics`.
        intervals: 95 % bootstrap intervals of the metrics, from `metrics.intervals`.
        images: `[N, 3, C]` int64 from `metrics.image_counts`, in the order of the source; 0 for
            those left out.
        names: The names of these images.
        trained_on: Number of them that the model was trained on; None if unknown.
    """

    confusion: np.ndarray
    class_names: tuple[str, ...]
    examples: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    images: np.ndarray | None = None
    names: tuple[str, ...] = ()
    trained_on: int | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """All metrics, per class and over all classes."""
        return metrics.compute(self.confusion, self.class_names) | self.extra

    @property
    def summary(self) -> dict[str, float]:
        """The metrics by name, such as `mean_iou` and `dice/vessel`."""
        return metrics.flat(self.metrics)


class Accumulator:
    """Sums the counts of images, and keeps the predictions with the worst scores.

    Args:
        config: A resolved config.
        num_images: Number of images in the source.

    Attributes:
        extra: The counts for `config.eval.metrics`.
    """

    def __init__(self, config: ConfigDict, num_images: int):
        self.extra = metrics.ExtraScores(config, num_images)
        self._names = tuple(config.data.class_names)
        self._confusion = metrics.ConfusionState(len(self._names))
        self._images = np.zeros((num_images, 3, len(self._names)), np.int64)
        self._read = np.zeros(num_images, bool)
        self._max_examples = config.eval.examples
        self._worst: dict[int, tuple[float, np.ndarray | None]] = {}

    def add(self, counts: Mapping[str, Any], index: np.ndarray) -> np.ndarray:
        """Add the counts of a batch.

        Args:
            counts: `confusion [C, C]`, `images [B, 3, C]` and histograms, as an evaluation step
                returns them.
            index: `[B]`, the index of each image in the source; -1 for padding.

        Returns:
            The rows of the batch whose predictions should be passed to `keep`.
        """
        rows = np.flatnonzero(index >= 0)
        self._confusion.add(counts["confusion"])
        self.extra.add(counts)
        self._images[index[rows]] = np.asarray(counts["images"])[rows]
        self._read[index[rows]] = True
        scores = metrics.image_scores(self._images[index[rows]])
        for i, score in zip(index[rows].tolist(), scores.tolist(), strict=True):
            # An image without any scored class comes last.
            self._worst[i] = (math.inf if math.isnan(score) else score, None)
        order = sorted(self._worst, key=lambda i: (self._worst[i][0], i))
        self._worst = {i: self._worst[i] for i in order[: self._max_examples]}
        return np.asarray([row for row in rows if int(index[row]) in self._worst], int)

    def keep(self, index: int, prediction: np.ndarray) -> None:
        """Keep the prediction `[H, W]` of an image."""
        self._worst[index] = (self._worst[index][0], prediction)

    def results(self, source: data.Source) -> Results:
        """Return the results, and warn about examples that could not be read."""
        left_out = len(self._read) - int(self._read.sum())
        if left_out and jax.process_index() == 0:
            to_stderr(
                f"warning: {left_out} of {len(self._read)} evaluation examples could not be read "
                "and are not counted"
            )
        examples = [
            {**source[index], "prediction": prediction}
            for index, (_, prediction) in self._worst.items()
        ]
        return Results(
            self._confusion.counts,
            self._names,
            examples,
            left_out,
            self.extra.compute(),
            metrics.intervals(self._images[self._read], self._names),
            self._images,
        )


def write_results(
    workdir: str | Path,
    config: ConfigDict,
    results: Results,
    step: int,
    *,
    out: str | Path | None = None,
    predicted: Mapping[str, Any] | None = None,
) -> None:
    """Write `metrics.json`, `images.npz` and `report.html`.

    Args:
        workdir: Folder of the model.
        config: Its config.
        results: The results.
        step: The training step of the weights.
        out: Folder of the files; None is the workdir.
        predicted: The options of the predictions, if they are not the default ones.
    """
    out = Path(workdir if out is None else out)
    if results.images is not None:
        with atomic(out / IMAGES_FILE) as path, path.open("wb") as file:
            names = {"names": np.asarray(results.names)} if results.names else {}
            np.savez_compressed(file, counts=results.images, **names)
    write_json(
        out / METRICS_FILE,
        {
            "step": step,
            "split": config.data.split.eval,
            **({"predicted": dict(predicted)} if predicted else {}),
            "class_names": results.class_names,
            "metrics": results.summary,
            "intervals": results.intervals,
            **({"left_out": results.left_out} if results.left_out else {}),
            **({} if results.trained_on is None else {"trained_on": results.trained_on}),
            **{key: results.extra[key] for key in ("reliability",) if key in results.extra},
            "confusion": results.confusion.tolist(),
        },
    )
    write_report(
        out,
        config,
        {
            "step": step,
            **({"images_trained_on": results.trained_on} if results.trained_on else {}),
            **results.metrics,
        },
        results.confusion,
        results.examples,
        command=f"fcnjax evaluate --workdir={workdir}\n"
        f"fcnjax predict --workdir={workdir} IMAGES... --out=DIR",
        intervals=results.intervals,
    )
