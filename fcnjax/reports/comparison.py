"""Several runs side by side, as a table and as a page."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import flatten
from fcnjax.errors import UserError, one_line
from fcnjax.evaluation import read_image_counts, read_image_names, read_scores
from fcnjax.metrics import differences, lower_is_better, number
from fcnjax.reports.charts import line_chart
from fcnjax.reports.page import between, chart_card, page
from fcnjax.training.workdir import load_saved_config
from fcnjax.training.writers import EVAL_PREFIX, read_metrics

FIRST = ("mean_iou", "mean_dice", "pixel_accuracy")
# By score, a value a run: the difference to the first run, and between what it lies.
Differences = Mapping[str, Sequence[tuple[float, float, float] | None]]
# What names where a run is, and tells nothing of what it is.
PLACES = ("data.root", "data.images", "data.masks")


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        name: Its workdir's, or as much of the path as tells it from the others.
        config: Its config.
        step: Of the weights that were scored.
        scores: The figures by name, nan where there is none.
        intervals: Those of some of them.
        lines: Of its metrics.jsonl.
        images: The counts of each image, as of `metrics.image_counts`, or None.
        names: The names of these images; () where they are not known.
        trained_on: How many of them the model was trained on; None where that is not known.
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


def read_runs(workdirs: Sequence[str | Path]) -> list[Run]:
    """Reads runs.

    Raises:
        UserError: One has no scores, or is there twice; or their classes differ.
    """
    folders = [Path(workdir) for workdir in workdirs]
    resolved = [folder.resolve() for folder in folders]
    for place, folder in enumerate(resolved):
        if folder in resolved[:place]:
            raise UserError(f"{folders[place]}: is there twice")
    short = [folder.name for folder in resolved]
    names = short if len(set(short)) == len(short) else list(map(str, folders))
    runs = [_read(folder, name) for folder, name in zip(folders, names, strict=True)]
    for run in runs[1:]:
        one, other = (tuple(each.config.data.class_names) for each in (runs[0], run))
        if one != other:
            raise UserError(
                f"{run.name}: has the classes {_short(other)}, and {runs[0].name} {_short(one)}; "
                "runs are compared that have the same"
            )
    return runs


def _short(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 60 else text[:57] + "..."


def _read(workdir: Path, name: str) -> Run:
    config = load_saved_config(workdir)
    found = read_scores(workdir)
    if tuple(found["class_names"]) != tuple(config.data.class_names):
        raise UserError(f"{workdir}: its scores are of other classes than its config has")
    scores = {key: _figure(value) for key, value in found["metrics"].items()}
    intervals = {key: tuple(map(_figure, pair)) for key, pair in found.get("intervals", {}).items()}
    images = read_image_counts(workdir, len(config.data.class_names))
    return Run(
        name,
        config,
        found["step"],
        scores,
        intervals,
        read_metrics(workdir),
        images,
        read_image_names(workdir),
        found.get("trained_on"),
    )


def _figure(value: float | None) -> float:
    return float("nan") if value is None else value


def settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The keys of the config in which runs differ, and the value of each run."""
    configs = [flatten(run.config) for run in runs]
    found = {key: [config.get(key) for config in configs] for key in sorted(set().union(*configs))}
    return {
        key: values
        for key, values in found.items()
        if key not in PLACES and any(value != values[0] for value in values)
    }


def overall(runs: Sequence[Run]) -> list[str]:
    """The scores that are not of a class and that all runs have, the usual ones first."""
    common = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    own = [name for name in common if "/" not in name and not name.endswith("_bound")]
    return [*(name for name in FIRST if name in own), *(n for n in own if n not in FIRST)]


def best_of(runs: Sequence[Run], name: str) -> list[bool]:
    """Which runs have the best value of a score; none where one run is alone, or all are alike."""
    values = [run.scores[name] for run in runs]
    known = [value for value in values if value == value]
    if len(runs) < 2 or not known or min(known) == max(known):
        return [False] * len(runs)
    best = min(known) if lower_is_better(name) else max(known)
    return [value == best for value in values]


def against_first(runs: Sequence[Run]) -> Differences:
    """How much better each run is scored than the first, and between what that lies.

    Returns:
        By score, a value a run, as of `metrics.differences`; None of the first, and of a run that
        was not scored on the same images. Empty where that are all.
    """
    first = runs[0].images
    names = [*runs[0].config.data.class_names] if len(runs) > 1 else []
    found = [
        differences(run.images, first, names) if _same_images(runs[0], run) else None
        for run in runs[1:]
    ]
    if not any(found):
        return {}
    keys = ["mean_iou", "mean_dice", *([f"dice/{names[1]}"] if len(names) == 2 else [])]
    return {key: [None, *(each and each[key] for each in found)] for key in keys}


def _same_images(one: Run, other: Run) -> bool:
    """Return whether two runs were scored on the same images and labels, in the same order."""
    if one.images is None or other.images is None or one.images.shape != other.images.shape:
        return False
    if one.names and other.names and one.names != other.names:
        return False
    return np.array_equal(one.images[:, 1], other.images[:, 1])


def _trained_on(runs: Sequence[Run]) -> list[str]:
    """Count the scored images that each run was trained on; [] where none was."""
    if not any(run.trained_on for run in runs):
        return []
    return ["" if run.trained_on is None else str(run.trained_on) for run in runs]


def _signed(difference: tuple[float, float, float] | None) -> str:
    """A difference in percent with its interval."""
    if difference is None:
        return ""
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*(100 * value for value in difference))


def _own(name: str) -> str:
    """A score's name without its class and without `mean_`: by what it is written."""
    return name.split("/")[0].removeprefix("mean_")


def as_table(runs: Sequence[Run], found: Differences) -> str:
    """The runs, and what `against_first` found, as lines of text; `*` stands at the best."""
    rows = [["", *(run.name for run in runs)], ["step", *(str(run.step) for run in runs)]]
    for name in overall(runs):
        cells = []
        for run, best in zip(runs, best_of(runs, name), strict=True):
            cells.append(number(run.scores[name], _own(name)) + ("*" if best else " "))
        rows.append([name, *cells])
    for name, values in found.items():
        rows.append([f"{name}, less {runs[0].name}", *map(_signed, values)])
    if trained_on := _trained_on(runs):
        rows.append(["scored images trained on", *trained_on])
    rows += [[key, *map(str, values)] for key, values in settings(runs).items()]
    rows = [list(map(one_line, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(runs) + 1)]
    lines = []
    for name, *cells in rows:
        own = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([f"{name:<{widths[0]}}", *own]).rstrip())
    return "\n".join(lines)


def as_page(runs: Sequence[Run], found: Differences) -> str:
    """The runs, and what `against_first` found, as a page of HTML."""
    title = " · ".join(run.name for run in runs)
    classes = list(runs[0].config.data.class_names)
    by_class = {
        key: [f"{key}/{name}" for name in classes]
        for key in ("iou", "dice")
        if all(f"{key}/{name}" in run.scores for run in runs for name in classes)
    }
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        _score_table("Scores", runs, overall(runs)),
        _difference_table(runs, found),
        _settings_table(runs),
        _curves(runs),
        *(
            _score_table({"iou": "IoU", "dice": "Dice"}[key] + " of each class", runs, names)
            for key, names in by_class.items()
        ),
    ]
    return page(title, sections)


def _table(
    title: str, note: str, runs: Sequence[Run], rows: Sequence[tuple[str, list[str]]]
) -> str:
    """A table with a column for each run; the cells of the rows are HTML."""
    head = "".join(f"<th>{html.escape(run.name)}</th>" for run in runs)
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
    return (
        f'<h2>{title}</h2><p><small>{note}</small></p><div class="card scroll"><table><thead><tr>'
        f"<th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _score_table(title: str, runs: Sequence[Run], names: Sequence[str]) -> str:
    rows = []
    for name in names:
        cells = []
        for run, best in zip(runs, best_of(runs, name), strict=True):
            text = number(run.scores[name], _own(name))
            text = f"<b>{text}</b>" if best else text
            cells.append(text + between(run.intervals.get(name)))
        rows.append((name.partition("/")[2] or name.replace("_", " "), cells))
    note = "Bold: the best. Below a score: where it lies in 95 % of all draws of the images."
    return _table(title, note, runs, rows)


def _difference_table(runs: Sequence[Run], found: Differences) -> str:
    rows = [
        (name.replace("_", " ").replace("/", " of "), [_signed(value) for value in values])
        for name, values in found.items()
    ]
    note = (
        "In percent points, on the same images; in brackets, where it lies in 95 % of all draws of "
        "them. All above 0 or all below: the images agree on which run is better."
    )
    return _table(f"Differences to {html.escape(runs[0].name)}", note, runs, rows) if rows else ""


def _settings_table(runs: Sequence[Run]) -> str:
    rows = [
        (key, [html.escape(str(value)) for value in values])
        for key, values in settings(runs).items()
    ]
    if trained_on := _trained_on(runs):
        rows.insert(0, ("scored images that were trained on", trained_on))
    rows.insert(0, ("step that was scored", [str(run.step) for run in runs]))
    return _table("Settings that differ", "All others are equal.", runs, rows)


def _curves(runs: Sequence[Run]) -> str:
    """A chart for each curve that several runs have: a line for each of them."""
    classes = runs[0].config.data.class_names
    scores = [f"dice/{classes[1]}", "mean_iou"] if len(classes) == 2 else ["mean_iou", "mean_dice"]
    cards = ""
    for name in ("loss", *(EVAL_PREFIX + score for score in scores), "lr"):
        lines = {
            run.name: [(line["step"], line[name]) for line in run.lines if name in line]
            for run in runs
        }
        cards += chart_card(name.removeprefix(EVAL_PREFIX), list(lines), line_chart(lines))
    return f'<h2>Learning curves</h2><div class="charts">{cards}</div>' if cards else ""
