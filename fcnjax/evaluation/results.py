"""The results of an evaluation: how they are accumulated, and their files.

The files may come from a stranger, and are read with checks of types and sizes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.errors import UserError
from fcnjax.evaluation.compared_images import select_compared, write_compared
from fcnjax.io.atomic_files import atomic, write_json
from fcnjax.io.json_files import read_json
from fcnjax.io.numpy_files import TEXTS, read_arrays
from fcnjax.reports import Scores, write_report
from fcnjax.runtime.packages import to_stderr

METRICS_FILE = "metrics.json"
IMAGES_FILE = "images.npz"
# Of metrics.json: a confusion matrix of `data.MAX_CLASSES` whose counts sum to _MAX_COUNT needs 12
# bytes a cell, which hold 11 digits and a comma.
MAX_BYTES = data.MAX_CLASSES**2 * 12 + 4 * 2**20
_MAX_COUNT = 2**53  # pixels; sums of a thousand such counts stay within int64
_MAX_SCORE = 1e15  # a distance


@dataclass
class Results:
    """The results of an evaluation.

    Attributes:
        confusion: `[C, C]` int64 pixel counts, rows by label and columns by prediction.
        class_names: The names of the classes.
        examples: The images with the worst scores, the worst first, with label and prediction, for
            the report.
        left_out: Number of examples that could not be read and are not counted.
        compared: Some images, the same for every model, with label, prediction and `score`, for the
            comparison of runs.
        extra: The metrics of `config.eval.metrics`.
        loss: The mean over the images of the loss that the model was trained with, each image by
            itself at the size of its label, without auxiliary heads; images without a labelled
            pixel are left out. nan if there are no others; None if the predictions have no logits.
        intervals: 95 % bootstrap intervals of the metrics, from `metrics.intervals`.
        images: `[N, 3, C]` int64 from `metrics.image_counts`, in the order of the source; 0 for
            those left out.
        names: The names of these images.
        trained_on: Number of them that the model was trained on; None if unknown.
        num_train: Number of images of the model's training; None if unknown.
        scored: The classes that have scores, if the dataset has not all those of the model.
    """

    confusion: np.ndarray
    class_names: tuple[str, ...]
    examples: list[dict[str, Any]] = field(default_factory=list)
    compared: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    loss: float | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    images: np.ndarray | None = None
    names: tuple[str, ...] = ()
    trained_on: int | None = None
    num_train: int | None = None
    scored: tuple[int, ...] | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """All metrics, per class and over all classes."""
        loss = {} if self.loss is None else {metrics.LOSS: self.loss}
        scores = metrics.compute(self.confusion, self.class_names, self.scored)
        return scores | loss | self.extra

    @property
    def summary(self) -> dict[str, float]:
        """The metrics by name, such as `mean_iou` and `dice/vessel`."""
        return metrics.flat(self.metrics)


class Accumulator:
    """Sums the counts of images, and keeps the predictions with the worst scores.

    Args:
        config: A resolved config.
        num_images: Number of images in the source.
        scored: As in `Results`.

    Attributes:
        extra: The counts for `config.eval.metrics`.
    """

    def __init__(self, config: ConfigDict, num_images: int, scored: tuple[int, ...] | None = None):
        self._scored = scored
        # Of the counts of images, those of the classes that have scores.
        self._columns = slice(None) if scored is None else list(scored)
        self.extra = metrics.ExtraScores(config, num_images)
        self._names = tuple(config.data.class_names)
        self._confusion = metrics.ConfusionState(len(self._names))
        self._images = np.zeros((num_images, 3, len(self._names)), np.int64)
        self._losses = np.full(num_images, np.nan)
        self._read = np.zeros(num_images, bool)
        self._max_examples = config.eval.examples
        self._worst: dict[int, tuple[float, np.ndarray | None]] = {}
        self._compared: dict[int, np.ndarray | None] = dict.fromkeys(
            select_compared(num_images, config.eval.examples)
        )

    def add(self, counts: Mapping[str, Any], index: np.ndarray) -> np.ndarray:
        """Add the counts of a batch.

        Args:
            counts: `confusion [C, C]`, `images [B, 3, C]`, histograms and, if known, `losses [B]`,
                as an evaluation step returns them.
            index: `[B]`, the index of each image in the source; -1 for padding.

        Returns:
            The rows of the batch whose predictions should be passed to `keep`.
        """
        rows = np.flatnonzero(index >= 0)
        images = index[rows]
        self._confusion.add(counts["confusion"])
        self.extra.add(counts)
        self._images[images] = np.asarray(counts["images"])[rows]
        self._read[images] = True
        if "losses" in counts:
            self._losses[images] = np.asarray(counts["losses"])[rows]
        # An image without any scored class comes last.
        scores = metrics.image_scores(self._images[images][..., self._columns])
        scores = np.nan_to_num(scores, nan=np.inf)
        self._worst |= {i: (s, None) for i, s in zip(images.tolist(), scores.tolist(), strict=True)}
        order = sorted(self._worst, key=lambda i: (self._worst[i][0], i))
        self._worst = {i: self._worst[i] for i in order[: self._max_examples]}
        return rows[np.isin(images, [*self._worst, *self._compared])]

    def keep(self, index: int, prediction: np.ndarray) -> None:
        """Keep the prediction `[H, W]` of an image."""
        if index in self._worst:
            self._worst[index] = (self._worst[index][0], prediction)
        if index in self._compared:
            self._compared[index] = prediction

    def results(self, source: data.Source) -> Results:
        """Return the results, and warn about examples that could not be read."""
        left_out = int((~self._read).sum())
        if left_out and jax.process_index() == 0:
            to_stderr(
                f"warning: {left_out} of {len(self._read)} evaluation examples could not be read "
                "and are not counted"
            )
        predictions = {i: prediction for i, (_, prediction) in self._worst.items()}
        predictions |= {i: mask for i, mask in self._compared.items() if mask is not None}
        examples = {
            i: {**source[i], "prediction": prediction} for i, prediction in predictions.items()
        }
        images = self._images[..., self._columns]
        scores = metrics.image_scores(images)
        names = np.asarray(self._names, object)[self._columns].tolist()
        return Results(
            self._confusion.counts,
            self._names,
            examples=[examples[i] for i in self._worst],
            compared=[{**examples[i], "score": scores[i]} for i in self._compared if i in examples],
            left_out=left_out,
            extra=self.extra.compute(),
            loss=self._mean_loss(),
            intervals=metrics.intervals(images[self._read], names),
            images=self._images,
            scored=self._scored,
        )

    def _mean_loss(self) -> float:
        """Return the mean loss of the images with labelled pixels; nan if it is not a number."""
        losses = self._losses[self._images[:, 1].any(1)]
        loss = float(losses.mean()) if losses.size else np.nan
        return loss if abs(loss) < _MAX_SCORE else np.nan


def write_results(
    workdir: str | Path,
    config: ConfigDict,
    results: Results,
    step: int,
    *,
    out: str | Path | None = None,
    predicted: Mapping[str, Any] | None = None,
) -> None:
    """Write `metrics.json`, `images.npz`, `examples.npz` and `report.html`.

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
            np.savez_compressed(file, counts=_narrowed(results.images), **names)
    write_compared(out, results.compared)
    optional = {
        "left_out": results.left_out or None,
        "trained_on": results.trained_on,
        "reliability": results.extra.get("reliability"),
    }
    scores = {
        "step": step,
        "split": config.data.split.eval,
        **({"predicted": dict(predicted)} if predicted else {}),
        "class_names": results.class_names,
        "metrics": results.summary,
        "intervals": results.intervals,
        **{key: value for key, value in optional.items() if value is not None},
    }
    write_json(out / METRICS_FILE, scores, {"confusion": results.confusion.tolist()})
    trained_on = {"images_trained_on": results.trained_on} if results.trained_on else {}
    shown = Scores(
        {"step": step, **trained_on, **results.metrics},
        results.confusion,
        results.examples,
        results.intervals,
        results.num_train,
        None if results.images is None else len(results.images) - results.left_out,
        results.scored,
    )
    command = (
        f"fcnjax evaluate --model={workdir}\nfcnjax predict --model={workdir} IMAGES... --out=DIR"
    )
    write_report(out, config, shown, command)


def _narrowed(counts: np.ndarray) -> np.ndarray:
    """Return counts in 32 bits if they fit: the file of many images and classes is large."""
    return counts.astype(np.int32) if counts.max(initial=0) < 2**31 else counts


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _MAX_SCORE


def _is_score(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_interval(value: Any) -> bool:
    return _list_of(_is_score)(value) and len(value) == 2


def _is_bin(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_number(value.get(key)) for key in ("confidence", "accuracy")
    )


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


_REQUIRED = ("step", "class_names", "metrics", "confusion")
# For each key of `metrics.json` a check of its value, and a description of the valid values.
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (_is_count, "a whole number"),
    "class_names": (_list_of(_is_text), "a list of strings"),
    "metrics": (_dict_of(_is_score), "an object of numbers and null"),
    "confusion": (_list_of(_list_of(_is_count)), "rows of counts"),
    "split": (_is_text, "a string"),
    "intervals": (_dict_of(_is_interval), "an object of pairs of numbers"),
    "predicted": (lambda value: isinstance(value, dict), "an object"),
    "left_out": (_is_count, "a whole number"),
    "trained_on": (_is_count, "a whole number"),
    "reliability": (_list_of(_is_bin), "bins with a confidence and an accuracy"),
}


def read_scores(workdir: str | Path, config: ConfigDict | None = None) -> dict[str, Any]:
    """Read the `metrics.json` of a workdir.

    Args:
        workdir: The workdir.
        config: A config with the classes that the scores must have; None for any.

    Returns:
        Its content, with None for null.

    Raises:
        UserError: It is missing or damaged (names the key), or has other classes.
    """
    path = Path(workdir) / METRICS_FILE
    if not path.is_file():
        raise UserError(
            f"{path}: does not exist; the training has not ended, or run `fcnjax evaluate "
            f"--model={workdir}`"
        )
    content = read_json(path, MAX_BYTES)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not an object with the metrics of an evaluation")
    for key, (is_valid, description) in _FIELDS.items():
        if key in content and not is_valid(content[key]):
            raise UserError(f"{path}: {key!r} is {str(content[key])[:40]}; valid: {description}")
        if key in _REQUIRED and key not in content:
            raise UserError(f"{path}: has no {key!r}")
    classes, rows = len(content["class_names"]), content["confusion"]
    if [len(row) for row in rows] != [classes] * classes:
        raise UserError(f"{path}: 'confusion' does not have a row and a column for each class")
    if sum(map(sum, rows)) > _MAX_COUNT:
        raise UserError(f"{path}: 'confusion' counts more pixels than {_MAX_COUNT}")
    if config is not None and tuple(content["class_names"]) != tuple(config.data.class_names):
        raise UserError(f"{workdir}: the classes of its scores differ from those of its config")
    return content


def read_images(workdir: str | Path, classes: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Read `Results.images` and `Results.names` of a workdir; None and () if it has none.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(workdir) / IMAGES_FILE
    if not path.is_file():
        return None, ()
    arrays = read_arrays(path, {"counts": "i", "names": TEXTS})
    counts, names = arrays.get("counts"), arrays.get("names")
    if counts is None or counts.shape[1:] != (3, classes) or not _are_counts(counts):
        raise UserError(
            f"{path}: does not contain counts of {classes} classes; `fcnjax evaluate` writes them"
        )
    has_names = names is not None and names.ndim == 1
    return counts.astype(np.int64), tuple(names.tolist()) if has_names else ()


def _are_counts(counts: np.ndarray) -> bool:
    """Return whether counts `[N, 3, C]` have no more hits than labels and predictions."""
    if counts.min(initial=0) < 0 or counts.sum(dtype=np.float64) > _MAX_COUNT:
        return False
    return bool((counts[:, :1] <= counts).all())
