"""The report of a run: one HTML file with its scores, curves and pictures, and nothing to fetch."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax import __version__
from fcnjax.io import pictures
from fcnjax.io.atomic_files import write_text
from fcnjax.io.jinja import render
from fcnjax.io.shrink import shrink, shrink_mask
from fcnjax.metrics import (
    EXTRA,
    LOSS,
    PER_CLASS,
    compute,
    confusion_matrix,
    flat,
    lower_is_better,
    metric_of,
    number,
    percent,
)
from fcnjax.reports.charts import Chart, Mark, draw_charts
from fcnjax.training.writers.metrics_file import EVAL_PREFIX, read_metrics

REPORT_FILE = "report.html"
LONGEST_SIDE = 700  # pixels of a picture in the report
MAX_CLASSES = 25  # rows and columns of the confusion matrix that a page can show

MAX_SECONDS = 1e9  # of a training; a damaged metrics.jsonl may claim any speed

Intervals = Mapping[str, tuple[float, float]]
Lines = Sequence[Mapping[str, float]]  # of metrics.jsonl


class Scores(NamedTuple):
    """The results of an evaluation that a report shows.

    Attributes:
        metrics: Numbers for the top of the page. Scores of `metrics.compute` among them are
            ignored, since they are computed from the matrix; others, such as `{"step": 1000}`, are
            shown after those.
        confusion: Integer [C, C]: rows are labels, columns predictions.
        examples: `{"image": uint8 [H, W, C], "label": int [H, W], "prediction": int [H, W],
            "name": str}` of some held-out images.
        intervals: Confidence intervals from `metrics.intervals`, shown below the class scores.
        num_train: Number of training images; None if unknown.
        num_eval: Number of evaluated images; None if unknown.
        scored: The classes that have scores, if the dataset has not all those of the model.
    """

    metrics: Mapping[str, Any]
    confusion: np.ndarray
    examples: Sequence[Mapping[str, Any]] = ()
    intervals: Intervals = MappingProxyType({})
    num_train: int | None = None
    num_eval: int | None = None
    scored: Sequence[int] | None = None

    @property
    def is_converted(self) -> bool:
        """True if the model was trained by another library, and has no steps."""
        return self.metrics.get("step") == 0


def write_report(
    workdir: str | Path, config: ConfigDict, evaluated: Scores, command: str = ""
) -> Path:
    """Write `report.html` to the workdir, with learning curves from its `metrics.jsonl`.

    Args:
        workdir: Folder of the run; its name is the title.
        config: Resolved config. `data.class_names` names the classes and `data.palette` colours
            them (`()` stands for the default palette).
        evaluated: The results of an evaluation.
        command: Command line that uses the model; "" leaves it out.

    Returns:
        The path of the report.

    Raises:
        UserError: The file cannot be written.
    """
    metrics, confusion, intervals = evaluated.metrics, evaluated.confusion, evaluated.intervals
    names, palette = class_colours(config)
    scores, lines = compute(confusion, names, evaluated.scored), read_metrics(workdir)
    best = best_step(lines, config.eval.best_metric)
    page = render(
        "reports/templates/run.html.j2",
        title=Path(workdir).resolve().name,
        facts=_facts(config, evaluated, lines),
        tiles=_tiles(scores, metrics, names),
        has_distances=any(n in metrics for n, spec in EXTRA.items() if not spec.in_percent),
        examples=[
            _describe_example(e, names, palette, config.data.ignore_label, evaluated.scored)
            for e in evaluated.examples
        ],
        is_converted=evaluated.is_converted,
        class_colours=colour_legend(names, palette),
        difference_colours=pictures.difference_legend(len(names)),
        curves=_learning_curves(lines, names, best),
        best="" if best is None else f"step {best}, the best by {config.eval.best_metric}",
        has_intervals=bool(intervals),
        classes=[
            _class_row(name, rgb, scores, intervals)
            for name, rgb in zip(names, palette, strict=True)
            if name in scores["iou"]
        ],
        num_classes=len(names),
        matrix=_matrix(np.asarray(confusion), names),
        calibration=_calibration(metrics.get("reliability", ())),
        config=json.dumps(config.to_dict(), indent=2, default=list),
        command=command,
    )
    path = Path(workdir) / REPORT_FILE
    write_text(path, page)
    return path


def class_colours(config: ConfigDict) -> tuple[list[str], pictures.Palette]:
    """Return the names of the classes of a resolved config, and their RGB colours."""
    names = [str(name) for name in config.data.class_names]
    return names, tuple(config.data.palette) or pictures.default_palette(len(names))


def colour_legend(
    names: Sequence[str], palette: pictures.Palette
) -> list[tuple[str, Sequence[int]]]:
    """Return the entries of a legend of classes and ignored pixels, at most those that fit."""
    entries = [*zip(names, palette, strict=True), ("ignored", pictures.IGNORED)]
    return entries[: MAX_CLASSES + 1]


def _facts(config: ConfigDict, evaluated: Scores, lines: Lines) -> list[list[str]]:
    """Return lines of facts on the model, its data and its training."""
    counts = {"training": evaluated.num_train, "evaluated": evaluated.num_eval}
    duration = training_time(lines, config)
    return [
        [
            f"{config.model.decoder} on {config.model.encoder}",
            *_training_facts(config, evaluated),
            *([f"trained for {duration}, without evaluations"] if duration else []),
        ],
        [
            f"dataset {dataset_name(config)}",
            *(f"{count:,} {kind} images" for kind, count in counts.items() if count is not None),
            f"{len(config.data.class_names)} classes",
        ],
        [f"evaluated {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", f"fcnjax {__version__}"],
    ]


def dataset_name(config: ConfigDict) -> str:
    """Return the folder, name or source of the dataset of a config."""
    data = config.data
    return data.root or data.name or data.annotations or data.source


def training_time(lines: Lines, config: ConfigDict) -> str:
    """Return the time of the training steps as h:mm:ss, without evaluations; "" if unknown."""
    seconds, before = 0.0, 0
    for line in lines:
        if (speed := line.get("images_per_second", 0.0)) > 0:
            seconds += (line["step"] - before) * config.train.batch_size / speed
            before = line["step"]
    return str(timedelta(seconds=round(seconds))) if 0 < seconds < MAX_SECONDS else ""


def best_step(lines: Lines, metric: str) -> int | None:
    """Return the step whose evaluation has the best value of a metric, the last one of several.

    None without such an evaluation, and for the metric "".
    """
    key, sign = EVAL_PREFIX + metric, -1 if lower_is_better(metric) else 1
    values = [(sign * line[key], line["step"]) for line in lines if key in line]
    defined = [each for each in values if each[0] == each[0]]
    return max(defined)[1] if defined else None


def _training_facts(config: ConfigDict, evaluated: Scores) -> list[str]:
    if evaluated.is_converted:
        return ["trained by another library"]
    return [f"{config.train.steps} steps of {config.train.batch_size} images"]


def _tiles(
    scores: Mapping[str, Any], metrics: Mapping[str, Any], names: Sequence[str]
) -> dict[str, str]:
    """Return the texts of the tiles at the top, by title."""
    values = flat(scores)
    main = _main_scores(names if len(scores["iou"]) == len(names) else ())
    tiles = {title: percent(values[name]) for name, title in main.items()}
    for name, value in metrics.items():
        if (name, value) == ("step", 0):
            continue
        if name in values or not isinstance(value, int | float) or name.endswith("_bound"):
            continue
        metric = metric_of(name)
        text = number(value, metric) if metric in (*EXTRA, LOSS) else f"{value:,.6g}"
        tiles[name.replace("_", " ")] = text
    return tiles


def _main_scores(names: Sequence[str]) -> dict[str, str]:
    """Return the names of the main scores, and their titles."""
    titles = {"mean_iou": "mean IoU", "mean_dice": "mean Dice", "pixel_accuracy": "pixel accuracy"}
    if len(names) == 2:
        # With two classes, the task is about the second.
        del titles["mean_dice"]
        name = names[1]
        titles = {f"dice/{name}": f"Dice, {name}", f"iou/{name}": f"IoU, {name}", **titles}
    return titles


def _learning_curves(lines: Lines, names: Sequence[str], best: int | None) -> list[Chart]:
    """Draw the losses, the evaluations and the learning rate, with a mark at the best step."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            series.setdefault(name, []).append((line["step"], value))
    terms = [name for name in series if name.startswith("loss/")]
    losses = {
        "loss": "training",
        EVAL_PREFIX + LOSS: "validation",
        # A single term is the loss itself, up to its weight.
        **{name: name.removeprefix("loss/") for name in terms if len(terms) > 1},
    }
    scores = {EVAL_PREFIX + name: title for name, title in _main_scores(names).items()}
    groups = {"Loss": losses, "Held-out scores": scores, "Learning rate": {"lr": "lr"}}
    charts = {
        title: {name: series[key] for key, name in group.items() if key in series}
        for title, group in groups.items()
    }
    return draw_charts(charts, "step", () if best is None else (Mark(best, "best"),))


def _calibration(bins: Sequence[Mapping[str, float]]) -> Chart | None:
    """Draw the reliability diagram: accuracy over confidence, and the diagonal."""
    if not bins:
        return None
    series = {
        "accuracy": [(each["confidence"], each["accuracy"]) for each in bins],
        "perfect calibration": [(0.0, 0.0), (1.0, 1.0)],
    }
    return draw_charts({"Accuracy over confidence": series}, "confidence")[0]


def _class_row(
    name: str, colour: Sequence[int], scores: Mapping[str, Any], intervals: Intervals
) -> dict[str, Any]:
    """Return the scores of a class, each with its interval, as texts."""
    texts = {key: interval_text(intervals, f"{key}/{name}") for key in PER_CLASS}
    cells = [(percent(scores[key][name]), text) for key, text in texts.items()]
    return {"name": name, "colour": colour, "scores": cells}


def _matrix(confusion: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix of the most frequent classes: shares of the row, and counts."""
    totals = confusion.sum(1)
    # A page cannot show hundreds of columns.
    frequent = np.sort(np.argsort(-totals, kind="stable")[:MAX_CLASSES])
    rows = []
    for row in frequent:
        total, cells = int(totals[row]), []
        for count in map(int, confusion[row, frequent]):
            share = count / total if total else 0.0
            text = percent(share if total else None)
            cells.append({"share": share, "percent": text, "count": f"{count:,}"})
        rows.append((names[row], cells))
    return {"names": [names[column] for column in frequent], "rows": rows}


def interval_text(intervals: Intervals, name: str) -> str:
    """Format the confidence interval of a score in percent; "" if the score has none."""
    if name not in intervals:
        return ""
    low, high = map(percent, intervals[name])
    return f"{low} to {high}"


def _describe_example(
    example: Mapping[str, Any],
    names: Sequence[str],
    palette: pictures.Palette,
    ignore_label: int,
    scored: Sequence[int] | None,
) -> dict[str, Any]:
    """Return the name of an example, its score, and its pictures as data URIs by caption."""
    label, prediction = np.asarray(example["label"]), np.asarray(example["prediction"])
    confusion = confusion_matrix(label, prediction, len(names), ignore_label)
    difference = pictures.difference(label, prediction, len(names), ignore_label)
    return {
        "name": str(example["name"]),
        "score": _score(confusion, names, scored),
        "panels": {
            "image": embed(pictures.to_rgb(np.asarray(example["image"])), photo=True),
            "truth": embed(pictures.colorize(label, palette)),
            "prediction": embed(pictures.colorize(prediction, palette)),
            "difference": embed(difference),
        },
    }


def _score(confusion: np.ndarray, names: Sequence[str], scored: Sequence[int] | None) -> str:
    scores = compute(confusion, names, scored)
    if scored is not None:
        return f"mean IoU: {percent(scores['mean_iou'])}"
    value = scores["dice"][names[1]] if len(names) == 2 else scores["mean_iou"]
    return f"{image_score_title(names)}: {percent(value)}"


def image_score_title(names: Sequence[str]) -> str:
    """Return the title of the score of a single image, as `metrics.image_scores` computes it."""
    return f"Dice, {names[1]}" if len(names) == 2 else "mean IoU"


def embed(picture: np.ndarray, photo: bool = False) -> str:
    """Return an RGB picture as a data URI: JPEG for a photo, PNG for coloured classes.

    Sides are at most `LONGEST_SIDE` pixels long.
    """
    if photo:
        image = Image.fromarray(shrink(picture, LONGEST_SIDE))
        return pictures.data_uri(image, "JPEG", quality=88)
    image = Image.fromarray(shrink_mask(picture, LONGEST_SIDE))
    return pictures.data_uri(image, "PNG", optimize=True)
