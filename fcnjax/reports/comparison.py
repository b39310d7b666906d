"""Comparison of several evaluated runs, as a table of text and as a page."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import flatten
from fcnjax.errors import UserError, one_line
from fcnjax.evaluation import read_images, read_scores
from fcnjax.evaluation.compared_images import EXAMPLES_FILE, ComparedImage, read_compared
from fcnjax.io import pictures
from fcnjax.io.jinja import render
from fcnjax.metrics import LOSS, differences, lower_is_better, metric_of, number, percent
from fcnjax.reports.charts import Chart, Mark, draw_charts
from fcnjax.reports.run import (
    best_step,
    class_colours,
    colour_legend,
    dataset_name,
    embed,
    image_score_title,
    interval_text,
    training_time,
)
from fcnjax.training.workdir import load_saved_config
from fcnjax.training.writers.metrics_file import EVAL_PREFIX, read_metrics

FIRST_SCORES = ("mean_iou", "mean_dice", "pixel_accuracy")
# By score, one value per run: the difference to the first run and the ends of its interval.
Differences = Mapping[str, Sequence[tuple[float, float, float] | None]]
# Keys that say where the data of a run is, not what the run is.
LOCATION_KEYS = ("data.root", "data.images", "data.masks")


class ScoredRun(NamedTuple):
    """A run that was evaluated.

    Attributes:
        name: Name of the workdir, or its path if several have the same name.
        config: The resolved config.
        step: The step of the weights that were scored.
        scores: Scores by name; nan where a score is undefined.
        intervals: Confidence intervals of some of the scores.
        lines: The lines of metrics.jsonl.
        images: Counts of each image, as in `metrics.image_counts`, or None.
        names: Names of these images; () if unknown.
        trained_on: How many of these images the model was trained on; None if unknown.
        compared: Some of these images, with label and prediction.
    """

    name: str
    config: ConfigDict
    step: int
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    lines: Sequence[Mapping[str, float]]
    images: np.ndarray | None = None
    names: tuple[str, ...] = ()
    trained_on: int | None = None
    compared: tuple[ComparedImage, ...] = ()


def read_runs(workdirs: Sequence[str | Path]) -> list[ScoredRun]:
    """Read runs that have the same classes, perhaps by other names.

    Raises:
        UserError: A run has no scores or is given twice, or the number or order of the classes
            differs.
    """
    folders = [Path(workdir) for workdir in workdirs]
    resolved = [folder.resolve() for folder in folders]
    for index, folder in enumerate(resolved):
        if folder in resolved[:index]:
            raise UserError(f"{folders[index]}: is given twice")
    names = [folder.name for folder in resolved]
    if len(set(names)) < len(names):
        names = list(map(str, folders))
    runs = [_read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    return [runs[0], *(_with_class_names(run, runs[0]) for run in runs[1:])]


def _with_class_names(run: ScoredRun, first: ScoredRun) -> ScoredRun:
    """Return a run with its scores under the class names of the first run.

    Raises:
        UserError: The number or order of the classes differs.
    """
    theirs, names = (tuple(each.config.data.class_names) for each in (run, first))
    if theirs == names:
        return run
    if len(theirs) != len(names) or any(
        a != b and a in names for a, b in zip(theirs, names, strict=True)
    ):
        raise UserError(
            f"{run.name}: has the classes {_shorten(theirs)}, but {first.name} has "
            f"{_shorten(names)}; only runs with the same number and order of classes can be "
            "compared"
        )
    new_names = dict(zip(theirs, names, strict=True))

    def rename(values: Mapping[str, Any]) -> dict[str, Any]:
        renamed = {}
        for key, value in values.items():
            prefix = EVAL_PREFIX if key.startswith(EVAL_PREFIX) else ""
            metric, slash, name = key.removeprefix(prefix).partition("/")
            renamed[f"{prefix}{metric}{slash}{new_names.get(name, name)}"] = value
        return renamed

    return run._replace(
        scores=rename(run.scores),
        intervals=rename(run.intervals),
        lines=[rename(line) for line in run.lines],
    )


def class_name_notes(runs: Sequence[ScoredRun]) -> list[str]:
    """Return a line about each run whose classes have other names than those of the first."""
    first, *others = [(run.name, tuple(run.config.data.class_names)) for run in runs]
    return [
        f"{name}: its classes are called {_shorten(names)}; by their order they are compared with "
        f"{_shorten(first[1])} of {first[0]}"
        for name, names in others
        if names != first[1]
    ]


def _shorten(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 60 else text[:57] + "..."


def _read_run(workdir: Path, name: str) -> ScoredRun:
    config = load_saved_config(workdir)
    results = read_scores(workdir, config)
    intervals = results.get("intervals", {})
    return ScoredRun(
        name,
        config,
        results["step"],
        {key: _nan_if_none(value) for key, value in results["metrics"].items()},
        {key: tuple(map(_nan_if_none, ends)) for key, ends in intervals.items()},
        read_metrics(workdir),
        *read_images(workdir, len(config.data.class_names)),
        results.get("trained_on"),
        read_compared(workdir),
    )


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value


def differing_settings(runs: Sequence[ScoredRun]) -> dict[str, list[Any]]:
    """Return the config keys in which runs differ, with the value of each run."""
    configs = [flatten(run.config) for run in runs]
    keys = sorted(set().union(*configs) - {*LOCATION_KEYS})
    settings = {key: [config.get(key) for config in configs] for key in keys}
    return {key: values for key, values in settings.items() if any(v != values[0] for v in values)}


def overall_scores(runs: Sequence[ScoredRun]) -> list[str]:
    """Return the names of the scores over all classes that all runs have, common ones first.

    Losses are left out unless all runs were trained with the same one.
    """
    has_same_loss = all(run.config.loss == runs[0].config.loss for run in runs)
    names = [
        name
        for name in runs[0].scores
        if not ("/" in name or name.endswith("_bound"))
        and all(name in run.scores for run in runs)
        and (name != LOSS or has_same_loss)
    ]
    first = [name for name in FIRST_SCORES if name in names]
    return first + [name for name in names if name not in first]


def mark_best(runs: Sequence[ScoredRun], name: str) -> list[bool]:
    """Mark the runs with the best value of a score; none if there is one run or all are equal."""
    values = [run.scores[name] for run in runs]
    defined = [value for value in values if value == value]
    if len(runs) < 2 or not defined or min(defined) == max(defined):
        return [False] * len(runs)
    best = min(defined) if lower_is_better(name) else max(defined)
    return [value == best for value in values]


def differences_to_first(runs: Sequence[ScoredRun]) -> Differences:
    """Compute how much better each run scores than the first, with confidence intervals.

    Returns:
        By score, one value per run, from `metrics.differences`; None for the first run and for runs
        that were scored on other images. Empty if all are None.
    """
    first = runs[0].images
    names = [*runs[0].config.data.class_names] if len(runs) > 1 else []
    by_run = [
        differences(run.images, first, names) if _same_images(runs[0], run) else None
        for run in runs[1:]
    ]
    if not any(by_run):
        return {}
    keys = ["mean_iou", "mean_dice", *([f"dice/{names[1]}"] if len(names) == 2 else [])]
    return {key: [None, *(each and each[key] for each in by_run)] for key in keys}


def _same_images(one: ScoredRun, other: ScoredRun) -> bool:
    """Return whether two runs were scored on the same images and labels, in the same order."""
    if one.images is None or other.images is None:
        return False
    same_names = not (one.names and other.names) or one.names == other.names
    return same_names and np.array_equal(one.images[:, 1], other.images[:, 1])


def as_table(runs: Sequence[ScoredRun], to_first: Differences) -> str:
    """Format the runs and `differences_to_first` as lines of text; `*` marks the best score.

    A line follows about each run whose classes have other names.
    """
    rows = [
        ("", [_Cell(run.name) for run in runs]),
        ("step", [_Cell(str(run.step)) for run in runs]),
        *_score_rows(runs, overall_scores(runs)),
        *((f"{name}, less {runs[0].name}", cells) for name, cells in _difference_rows(to_first)),
        *_setting_rows(runs),
    ]
    texts = [[one_line(name), *(one_line(c.text + c.mark) for c in cells)] for name, cells in rows]
    first, *others = (max(map(len, column)) for column in zip(*texts, strict=True))
    lines = []
    for name, *cells in texts:
        cells = [f"{cell:>{width}}" for cell, width in zip(cells, others, strict=True)]
        lines.append("  ".join([f"{name:<{first}}", *cells]).rstrip())
    return "\n".join([*lines, *map(one_line, class_name_notes(runs))])


def as_page(runs: Sequence[ScoredRun], to_first: Differences) -> str:
    """Format the runs and `differences_to_first` as an HTML page."""

    def score_table(title: str, names: Sequence[str]) -> _Table:
        rows = _score_rows(runs, names)
        rows = [(name.partition("/")[2] or name.replace("_", " "), cells) for name, cells in rows]
        note = "Bold: the best. Below a score: its 95 % confidence interval (bootstrap)."
        return _Table(title, note, rows)

    tables = [score_table("Scores", overall_scores(runs))]
    if to_first:
        rows = _difference_rows(to_first)
        note = (
            "In percentage points, on the same images, with 95 % confidence intervals (paired "
            "bootstrap). If an interval does not contain 0, the images agree on which run is "
            "better."
        )
        rows = [(name.replace("_", " ").replace("/", " of "), cells) for name, cells in rows]
        tables.append(_Table(f"Differences to {runs[0].name}", note, rows))
    tables.append(_Table("Training", "The time is that of the steps.", _training_rows(runs)))
    tables.append(_Table("Settings that differ", "All others are equal.", _setting_rows(runs)))
    class_tables = []
    for key, title in (("iou", "IoU of each class"), ("dice", "Dice of each class")):
        names = [f"{key}/{name}" for name in runs[0].config.data.class_names]
        if all(name in run.scores for run in runs for name in names):
            class_tables.append(score_table(title, names))
    names, palette = class_colours(runs[0].config)
    examples, note = _examples(runs, names, palette)
    return render(
        "reports/templates/comparison.html.j2",
        title=" · ".join(run.name for run in runs),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        runs=[run.name for run in runs],
        tables=tables,
        class_colours=colour_legend(names, palette),
        score_title=f"Below a prediction: its {image_score_title(names)}, in percent.",
        examples=examples,
        examples_note=note,
        curves=_learning_curves(runs),
        best="the best step of each run, by its config.eval.best_metric",
        class_tables=class_tables,
    )


class _Cell(NamedTuple):
    """The value of one run; `mark` is `*` for the best score, and a space for other scores."""

    text: str
    mark: str = ""
    interval: str = ""


_Rows = list[tuple[str, list[_Cell]]]  # with a name and the cell of each run


class _Table(NamedTuple):
    title: str
    note: str
    rows: _Rows


def _score_rows(runs: Sequence[ScoredRun], names: Sequence[str]) -> _Rows:
    rows = []
    for name in names:
        cells = []
        for run, is_best in zip(runs, mark_best(runs, name), strict=True):
            text = number(run.scores[name], metric_of(name))
            cells.append(_Cell(text, "*" if is_best else " ", interval_text(run.intervals, name)))
        rows.append((name, cells))
    return rows


def _difference_rows(to_first: Differences) -> _Rows:
    """Return the differences in percent, with their intervals."""

    def text(difference: tuple[float, float, float] | None) -> str:
        values = [100 * value for value in difference or ()]
        return "{:+.2f} ({:+.2f} to {:+.2f})".format(*values) if values else ""

    return [(name, [_Cell(text(v)) for v in values]) for name, values in to_first.items()]


def _training_rows(runs: Sequence[ScoredRun]) -> _Rows:
    facts = {
        "dataset": [dataset_name(run.config) for run in runs],
        "training time": [training_time(run.lines, run.config) for run in runs],
        "evaluated step": [run.step for run in runs],
    }
    return [(name, [_Cell(str(value)) for value in values]) for name, values in facts.items()]


def _setting_rows(runs: Sequence[ScoredRun]) -> _Rows:
    settings = differing_settings(runs)
    trained_on = [run.trained_on for run in runs]
    if any(trained_on):
        known = ["" if count is None else count for count in trained_on]
        settings = {"scored images trained on": known, **settings}
    return [(name, [_Cell(str(v)) for v in values]) for name, values in settings.items()]


def _examples(
    runs: Sequence[ScoredRun], names: Sequence[str], palette: pictures.Palette
) -> tuple[list[dict[str, Any]], str]:
    """Return the images that all runs predicted, and a note on their absence.

    Each has its name, and pictures as data URIs with captions: of the image, its label and the
    prediction of each run.
    """
    missing = [run.name for run in runs if not run.compared]
    if missing:
        note = f"No images side by side: {missing[0]} has none in its {EXAMPLES_FILE}; "
        return [], note + "`fcnjax evaluate` stores config.eval.examples of them."
    examples = []
    for first in runs[0].compared:
        same = [next((e for e in run.compared if _is_same(e, first)), None) for run in runs]
        if None in same:
            continue
        panels = [
            ("image", embed(first.image, photo=True)),
            ("label", embed(pictures.colorize(first.label, palette))),
        ]
        for run, example in zip(runs, same, strict=True):
            prediction = embed(pictures.colorize(example.prediction, palette))
            panels.append((f"{run.name}: {percent(example.score)}", prediction))
        examples.append({"name": first.name, "panels": panels})
    return examples, "" if examples else "The runs have no held-out images in common."


def _is_same(one: ComparedImage, other: ComparedImage) -> bool:
    return one.name == other.name and np.array_equal(one.label, other.label)


def _learning_curves(runs: Sequence[ScoredRun]) -> list[Chart]:
    """Draw a chart of each curve: a line for each run that has it, and marks at the best steps."""
    classes = runs[0].config.data.class_names
    scores = [f"dice/{classes[1]}", "mean_iou"] if len(classes) == 2 else ["mean_iou", "mean_dice"]
    titles = {
        "loss": "training loss",
        EVAL_PREFIX + LOSS: "validation loss",
        **{EVAL_PREFIX + score: score for score in scores},
        "lr": "lr",
    }
    groups = {
        title: {
            run.name: [(line["step"], line[name]) for line in run.lines if name in line]
            for run in runs
        }
        for name, title in titles.items()
    }
    best = [best_step(run.lines, run.config.eval.best_metric) for run in runs]
    marks = [Mark(step, "", index) for index, step in enumerate(best) if step is not None]
    return draw_charts(groups, "step", marks)
