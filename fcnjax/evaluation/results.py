"""What an evaluation counts and finds, and its files."""

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
    """What an evaluation found.

    Attributes:
        confusion: `[C, C]` int64 pixel counts, rows by label and columns by prediction.
        class_names: The names of its classes.
        examples: The images that were scored worst, the worst first, with their label and
            prediction, for the report.
        left_out: How many examples could not be read, and are not counted.
        extra: The scores that `config.eval.metrics` asks for.
        intervals: Where scores lie in 95 % of all draws of the images, as of `metrics.intervals`.
        images: `[N, 3, C]` int64, as of `metrics.image_counts`, of each image in the order of the
            source; 0 of those left out.
        names: Of these images.
        trained_on: How many of them the model was trained on; None where that is not known.
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
        """Every figure, by class and over all."""
        return metrics.compute(self.confusion, self.class_names) | self.extra

    @property
    def summary(self) -> dict[str, float]:
        """The figures by name, as `mean_iou` and `dice/vessel`."""
        return metrics.flat(self.metrics)


class Accumulator:
    """Counts the images of an evaluation, and keeps the predictions that were scored worst.

    Attributes:
        extra: What is counted for `config.eval.metrics`.
    """

    def __init__(self, config: ConfigDict, num_images: int):
        """Makes an empty one for a resolved config, and at most so many images."""
        self.extra = metrics.ExtraScores(config, num_images)
        self._names = tuple(config.data.class_names)
        self._confusion = metrics.ConfusionState(len(self._names))
        self._images = np.zeros((num_images, 3, len(self._names)), np.int64)
        self._read = np.zeros(num_images, bool)
        self._most = config.eval.examples
        self._worst: dict[int, tuple[float, np.ndarray | None]] = {}

    def add(self, counts: Mapping[str, Any], index: np.ndarray) -> np.ndarray:
        """Adds the counts of a batch, as an eval step has them.

        Args:
            counts: `confusion` `[C, C]`, `images` `[B, 3, C]`, and histograms.
            index: `[B]`, the place of each image among all; -1 of what is none.

        Returns:
            The rows of the batch whose predictions `keep` wants.
        """
        rows = np.flatnonzero(index >= 0)
        self._confusion.add(counts["confusion"])
        self.extra.add(counts)
        self._images[index[rows]] = np.asarray(counts["images"])[rows]
        self._read[index[rows]] = True
        scores = metrics.image_scores(self._images[index[rows]])
        for place, score in zip(index[rows].tolist(), scores.tolist(), strict=True):
            # An image without a class that is scored comes last.
            self._worst[place] = (math.inf if math.isnan(score) else score, None)
        kept = sorted(self._worst, key=lambda place: (self._worst[place][0], place))
        self._worst = {place: self._worst[place] for place in kept[: self._most]}
        return np.asarray([row for row in rows if int(index[row]) in self._worst], int)

    def keep(self, place: int, prediction: np.ndarray) -> None:
        """Keeps the prediction `[H, W]` of an image, given its place."""
        self._worst[place] = (self._worst[place][0], prediction)

    def results(self, source: data.Source) -> Results:
        """All that was counted of a source; says how many examples could not be read."""
        left_out = len(self._read) - int(self._read.sum())
        if left_out and jax.process_index() == 0:
            to_stderr(
                f"warning: {left_out} of {len(self._read)} examples of the evaluation could not "
                "be read and are left out of the score"
            )
        examples = [
            {**source[place], "prediction": prediction}
            for place, (_, prediction) in self._worst.items()
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
    asked: Mapping[str, Any] | None = None,
) -> None:
    """Writes `metrics.json`, `images.npz` and `report.html` to `out`, by default the workdir.

    Args:
        workdir: The run's folder.
        config: Its config.
        results: What was found.
        step: Of the weights.
        out: Another folder for them.
        asked: How the predictions were made, where it was not plainly.
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
            **({"predicted": dict(asked)} if asked else {}),
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
