"""The report of a run: one HTML file with its scores, curves and pictures, and nothing to fetch."""

import base64
import html
import io
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
from fcnjax.metrics import EXTRA, PER_CLASS, compute, confusion_matrix, flat, number, percent
from fcnjax.reports.charts import line_chart
from fcnjax.reports.page import between, chart_card, page, swatch
from fcnjax.training.writers import EVAL_PREFIX, read_metrics

REPORT_FILE = "report.html"
LONGEST_SIDE = 700  # pixels of a picture in the report
MOST_CLASSES = 25  # rows and columns of the confusion matrix that a page can show


def write_report(
    workdir: str | Path,
    config: ConfigDict,
    metrics: Mapping[str, Any],
    confusion: np.ndarray,
    examples: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    intervals: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Path:
    """Writes `report.html` to the workdir; its curves come from `metrics.jsonl` there.

    Args:
        workdir: The run's folder; its name is the title.
        config: The resolved config; `data.class_names` names the classes, `data.palette` paints
            them (`()` takes the default palette).
        metrics: Numbers for the head of the page. Scores of `metrics.compute` may be among them
            and are taken from the matrix; others, such as `{"step": 1000}`, come after these.
        confusion: Integer [C, C]: rows are labels, columns predictions.
        examples: `{"image": uint8 [H, W, C], "label": int [H, W], "prediction": int [H, W],
            "name": str}` of some held-out images.
        intervals: As of `metrics.intervals`; shown under the scores of each class.
        command: What scores the model again or labels images with it; "" leaves it out.

    Returns:
        Its path.

    Raises:
        UserError: The file cannot be written.
    """
    names = [str(name) for name in config.data.class_names]
    palette = tuple(config.data.palette) or pictures.default_palette(len(names))
    scores = compute(confusion, names)
    title = Path(workdir).resolve().name
    sections = [
        _head(title, config, len(names)),
        _tiles(scores, metrics, names),
        _examples(examples, names, palette, config.data.ignore_label),
        _curves(read_metrics(workdir), names),
        _class_table(scores, names, palette, intervals),
        _matrix(np.asarray(confusion), names),
        _calibration(metrics.get("reliability", ())),
        _settings(config, command),
    ]
    path = Path(workdir) / REPORT_FILE
    write_text(path, page(title, sections))
    return path


def _head(title: str, config: ConfigDict, num_classes: int) -> str:
    model, train = config.model, config.train
    facts = (
        f"{model.decoder} on {model.encoder}",
        f"{num_classes} classes",
        f"{train.steps} steps of {train.batch_size} images",
        f"fcnjax {__version__}",
    )
    return f'<h1>{html.escape(title)}</h1><p class="soft">{html.escape(" · ".join(facts))}</p>'


def _tiles(scores: Mapping[str, Any], extra: Mapping[str, Any], names: Sequence[str]) -> str:
    values = flat(scores)
    tiles = {
        "mean IoU": percent(values["mean_iou"]),
        "mean Dice": percent(values["mean_dice"]),
        "pixel accuracy": percent(values["pixel_accuracy"]),
    }
    if len(names) == 2:
        # Of two classes the second is what the task is about.
        own = {key: percent(scores[key.lower()][names[1]]) for key in ("Dice", "IoU")}
        tiles = {f"{key}, {names[1]}": value for key, value in own.items()} | tiles
        del tiles["mean Dice"]
    for name, value in extra.items():
        if name in values or not isinstance(value, int | float) or name.endswith("_bound"):
            continue
        own = name.removeprefix("mean_")
        text = number(value, own) if own in EXTRA else f"{value:,.6g}"
        tiles[name.replace("_", " ")] = text
    distances = (name for name, of in EXTRA.items() if not of.in_percent)
    far = ", distances in pixels or config.eval.spacing's unit" * any(n in extra for n in distances)
    cards = "".join(
        f'<div class="card"><small>{html.escape(name)}</small><b>{value}</b></div>'
        for name, value in tiles.items()
    )
    return f'<div class="tiles">{cards}</div><p><small>Scores in percent{far}.</small></p>'


def _curves(lines: Sequence[Mapping[str, float]], names: Sequence[str]) -> str:
    """Charts of the losses, the evaluations and the learning rate."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            series.setdefault(name, []).append((line["step"], value))
    scores = ["mean_iou", "mean_dice", "pixel_accuracy"]
    if len(names) == 2:
        scores = [f"dice/{names[1]}", f"iou/{names[1]}", "mean_iou", "pixel_accuracy"]
    groups = {
        "Training loss": [name for name in series if name.split("/")[0] == "loss"],
        "Held-out scores": [EVAL_PREFIX + name for name in scores if EVAL_PREFIX + name in series],
        "Learning rate": [name for name in series if name == "lr"],
    }
    shown = "".join(
        chart_card(title, group, line_chart({name: series[name] for name in group}))
        for title, group in groups.items()
    )
    return f'<h2>Learning curves</h2><div class="charts">{shown}</div>' if shown else ""


def _calibration(bins: Sequence[Mapping[str, float]]) -> str:
    """The reliability diagram: how often a pixel is right of which the model is so sure."""
    lines = {
        "accuracy": [(own["confidence"], own["accuracy"]) for own in bins],
        "as sure as right": [(0.0, 0.0), (1.0, 1.0)],
    }
    if not bins:
        return ""
    card = chart_card("Accuracy over confidence", list(lines), line_chart(lines))
    return f'<h2>Calibration</h2><div class="charts" style="max-width:460px">{card}</div>'


def _colour_legend(entries: Sequence[tuple[str, Sequence[int]]]) -> str:
    spans = (f"<span>{swatch(rgb)}{html.escape(name)}</span>" for name, rgb in entries)
    return f'<div class="legend">{"".join(spans)}</div>'


def _examples(
    examples: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    palette: pictures.Palette,
    ignore_label: int,
) -> str:
    if not examples:
        return ""
    classes = [*zip(names, palette, strict=True), ("ignored", pictures.IGNORED)]
    legend = _colour_legend(classes[: MOST_CLASSES + 1])
    marks = _colour_legend(pictures.difference_legend(len(names)))
    rows = "".join(_example(example, names, palette, ignore_label) for example in examples)
    return (
        "<h2>Held-out images, the worst first</h2>"
        f"<small>Truth and prediction</small>{legend}<small>Difference</small>{marks}{rows}"
    )


def _example(
    example: Mapping[str, Any],
    names: Sequence[str],
    palette: pictures.Palette,
    ignore_label: int,
) -> str:
    label, prediction = np.asarray(example["label"]), np.asarray(example["prediction"])
    differs = pictures.difference(label, prediction, len(names), ignore_label)
    panels = {
        "image": _embed(pictures.to_rgb(np.asarray(example["image"])), photo=True),
        "truth": _embed(pictures.colorize(label, palette)),
        "prediction": _embed(pictures.colorize(prediction, palette)),
        "difference": _embed(differs),
    }
    name = html.escape(str(example["name"]))
    figures = "".join(
        f'<figure><img src="{source}" alt="{name}: {panel}"><figcaption>{panel}</figcaption>'
        "</figure>"
        for panel, source in panels.items()
    )
    score = html.escape(_example_score(label, prediction, names, ignore_label))
    return (
        f'<div class="card example"><div class="name"><b>{name}</b>'
        f'<span class="soft">{score}</span></div><div class="row">{figures}</div></div>'
    )


def _example_score(
    label: np.ndarray, prediction: np.ndarray, names: Sequence[str], ignore_label: int
) -> str:
    scores = compute(confusion_matrix(label, prediction, len(names), ignore_label), names)
    if len(names) == 2:
        return f"Dice, {names[1]}: {percent(scores['dice'][names[1]])}"
    return f"mean IoU: {percent(scores['mean_iou'])}"


def _embed(picture: np.ndarray, photo: bool = False) -> str:
    """A picture, uint8 [H, W, 3], as a data URI: JPEG of a photo, PNG of painted classes."""
    image = Image.fromarray(picture)
    scale = LONGEST_SIDE / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        # Between the colours of two classes lies no class.
        image = image.resize(size, Image.Resampling.BOX if photo else Image.Resampling.NEAREST)
    data = io.BytesIO()
    if photo:
        image.save(data, "JPEG", quality=88)
    else:
        image.save(data, "PNG", optimize=True)
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def _class_table(
    scores: Mapping[str, Any],
    names: Sequence[str],
    palette: pictures.Palette,
    intervals: Mapping[str, tuple[float, float]],
) -> str:
    note = ""
    if intervals:
        note = (
            "<p><small>Below a score: where it lies in 95 % of all draws of the held-out images, "
            "with replacement.</small></p>"
        )
    head = "".join(f"<th>{key}</th>" for key in ("IoU", "Dice", "precision", "recall"))
    rows = ""
    for name, colour in zip(names, palette, strict=True):
        cells = "".join(
            f"<td>{percent(scores[key][name])}{between(intervals.get(f'{key}/{name}'))}</td>"
            for key in PER_CLASS
        )
        title = f'<span class="legend" style="margin:0;color:inherit"><span>{swatch(colour)}'
        rows += f"<tr><th>{title}{html.escape(name)}</span></span></th>{cells}</tr>"
    return (
        f'<h2>Scores of each class</h2>{note}<div class="card scroll"><table><thead><tr>'
        f"<th>class</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _matrix(confusion: np.ndarray, names: Sequence[str]) -> str:
    """The confusion matrix as a table, each row coloured by its shares."""
    note = "Rows: truth. Columns: prediction. Percent of the row, with the number of pixels."
    totals = confusion.sum(1)
    # A page cannot show hundreds of columns: the most frequent classes stay.
    shown = np.sort(np.argsort(-totals, kind="stable")[:MOST_CLASSES])
    if len(shown) < len(names):
        note += f" The {len(shown)} most frequent of {len(names)} classes."
    head = "".join(f"<th>{html.escape(names[column])}</th>" for column in shown)
    rows = ""
    for row in shown:
        cells = "".join(_cell(int(confusion[row, column]), int(totals[row])) for column in shown)
        rows += f"<tr><th>{html.escape(names[row])}</th>{cells}</tr>"
    return (
        f'<h2>Confusion matrix</h2><p><small>{note}</small></p><div class="card scroll">'
        f'<table class="matrix" style="--n:{len(shown)}"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(count: int, total: int) -> str:
    share = count / total if total else 0.0
    high = ' class="high"' if share > 0.45 else ""
    shown = percent(share if total else None)
    return (
        f'<td{high} style="background:rgba(var(--heat),{share:.3f})">{shown}'
        f"<small>{count:,}</small></td>"
    )


def _settings(config: ConfigDict, command: str) -> str:
    text = json.dumps(config.to_dict(), indent=2, default=list)
    repeat = ""
    if command:
        repeat = f'<h2>Use this model</h2><div class="card"><pre>{html.escape(command)}</pre></div>'
    return (
        f"{repeat}<h2>Settings</h2>"
        f'<details class="card"><summary>The config</summary><pre>{html.escape(text)}</pre>'
        "</details>"
    )
