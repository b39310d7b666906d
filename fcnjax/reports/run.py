"""The report of a run: one HTML file with its scores, curves and pictures, and nothing to fetch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax import __version__
from fcnjax.io import pictures
from fcnjax.io.atomic_files import write_text
from fcnjax.io.jinja import render
from fcnjax.metrics import (
    EXTRA,
    PER_CLASS,
    compute,
    confusion_matrix,
    flat,
    metric_of,
    number,
    percent,
)
from fcnjax.reports.charts import Chart, draw_charts
from fcnjax.training.metrics_file import EVAL_PREFIX, read_metrics

REPORT_FILE = "report.html"
LONGEST_SIDE = 700  # pixels of a picture in the report
MAX_CLASSES = 25  # rows and columns of the confusion matrix that a page can show

Intervals = Mapping[str, tuple[float, float]]


def write_report(
    workdir: str | Path,
    config: ConfigDict,
    metrics: Mapping[str, Any],
    confusion: np.ndarray,
    examples: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    intervals: Intervals = MappingProxyType({}),
) -> Path:
    """Write `report.html` to the workdir, with learning curves from its `metrics.jsonl`.

    Args:
        workdir: Folder of the run; its name is the title.
        config: Resolved config. `data.class_names` names the classes and `data.palette` colours
            them (`()` stands for the default palette).
        metrics: Numbers for the top of the page. Scores of `metrics.compute` among them are
            ignored, since they are computed from the matrix; others, such as `{"step": 1000}`, are
            shown after those.
        confusion: Integer [C, C]: rows are labels, columns predictions.
        examples: `{"image": uint8 [H, W, C], "label": int [H, W], "prediction": int [H, W],
            "name": str}` of some held-out images.
        command: Command line that uses the model; "" leaves it out.
        intervals: Confidence intervals from `metrics.intervals`, shown below the class scores.

    Returns:
        The path of the report.

    Raises:
        UserError: The file cannot be written.
    """
    names = [str(name) for name in config.data.class_names]
    palette = tuple(config.data.palette) or pictures.default_palette(len(names))
    class_colours = list(zip(names, palette, strict=True))
    scores = compute(confusion, names)
    page = render(
        "reports/templates/run.html.j2",
        title=Path(workdir).resolve().name,
        facts=(
            f"{config.model.decoder} on {config.model.encoder}",
            f"{len(names)} classes",
            f"{config.train.steps} steps of {config.train.batch_size} images",
            f"fcnjax {__version__}",
        ),
        tiles=_tiles(scores, metrics, names),
        has_distances=any(n in metrics for n, spec in EXTRA.items() if not spec.in_percent),
        examples=[_describe_example(e, names, palette, config.data.ignore_label) for e in examples],
        class_colours=[*class_colours, ("ignored", pictures.IGNORED)][: MAX_CLASSES + 1],
        difference_colours=pictures.difference_legend(len(names)),
        curves=_learning_curves(read_metrics(workdir), names),
        has_intervals=bool(intervals),
        classes=[_class_row(name, rgb, scores, intervals) for name, rgb in class_colours],
        num_classes=len(names),
        matrix=_matrix(np.asarray(confusion), names),
        calibration=_calibration(metrics.get("reliability", ())),
        config=json.dumps(config.to_dict(), indent=2, default=list),
        command=command,
    )
    path = Path(workdir) / REPORT_FILE
    write_text(path, page)
    return path


def _tiles(
    scores: Mapping[str, Any], metrics: Mapping[str, Any], names: Sequence[str]
) -> dict[str, str]:
    """Return the texts of the tiles at the top, by title."""
    values = flat(scores)
    tiles = {title: percent(values[name]) for name, title in _main_scores(names).items()}
    for name, value in metrics.items():
        if name in values or not isinstance(value, int | float) or name.endswith("_bound"):
            continue
        metric = metric_of(name)
        text = number(value, metric) if metric in EXTRA else f"{value:,.6g}"
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


def _learning_curves(lines: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[Chart]:
    """Draw the losses, the evaluations and the learning rate."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            series.setdefault(name, []).append((line["step"], value))
    scores = [EVAL_PREFIX + name for name in _main_scores(names)]
    groups = {
        "Training loss": [name for name in series if name.split("/")[0] == "loss"],
        "Held-out scores": [name for name in scores if name in series],
        "Learning rate": [name for name in series if name == "lr"],
    }
    return draw_charts({t: {name: series[name] for name in group} for t, group in groups.items()})


def _calibration(bins: Sequence[Mapping[str, float]]) -> Chart | None:
    """Draw the reliability diagram: accuracy over confidence, and the diagonal."""
    if not bins:
        return None
    series = {
        "accuracy": [(each["confidence"], each["accuracy"]) for each in bins],
        "perfect calibration": [(0.0, 0.0), (1.0, 1.0)],
    }
    return draw_charts({"Accuracy over confidence": series})[0]


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
    example: Mapping[str, Any], names: Sequence[str], palette: pictures.Palette, ignore_label: int
) -> dict[str, Any]:
    """Return the name of an example, its score, and its pictures as data URIs by caption."""
    label, prediction = np.asarray(example["label"]), np.asarray(example["prediction"])
    confusion = confusion_matrix(label, prediction, len(names), ignore_label)
    difference = pictures.difference(label, prediction, len(names), ignore_label)
    return {
        "name": str(example["name"]),
        "score": _score(confusion, names),
        "panels": {
            "image": _embed(pictures.to_rgb(np.asarray(example["image"])), photo=True),
            "truth": _embed(pictures.colorize(label, palette)),
            "prediction": _embed(pictures.colorize(prediction, palette)),
            "difference": _embed(difference),
        },
    }


def _score(confusion: np.ndarray, names: Sequence[str]) -> str:
    scores = compute(confusion, names)
    if len(names) == 2:
        return f"Dice, {names[1]}: {percent(scores['dice'][names[1]])}"
    return f"mean IoU: {percent(scores['mean_iou'])}"


def _embed(picture: np.ndarray, photo: bool = False) -> str:
    """Return an RGB picture as a data URI: JPEG for a photo, PNG for coloured classes."""
    image = Image.fromarray(picture)
    scale = LONGEST_SIDE / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        # A blend of the colours of two classes would be the colour of no class.
        image = image.resize(size, Image.Resampling.BOX if photo else Image.Resampling.NEAREST)
    if photo:
        return pictures.data_uri(image, "JPEG", quality=88)
    return pictures.data_uri(image, "PNG", optimize=True)
