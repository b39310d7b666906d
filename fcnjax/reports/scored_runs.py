"""Reading of evaluated runs, for comparisons and cross-validations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.evaluation import read_images, read_scores
from fcnjax.training.metrics_file import read_metrics
from fcnjax.training.workdir import load_saved_config


@dataclass(frozen=True)
class ScoredRun:
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


def read_runs(workdirs: Sequence[str | Path]) -> list[ScoredRun]:
    """Read runs that have the same classes.

    Raises:
        UserError: A run has no scores or is given twice, or the classes of the runs differ.
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
    first = tuple(runs[0].config.data.class_names)
    for run in runs[1:]:
        other = tuple(run.config.data.class_names)
        if first != other:
            raise UserError(
                f"{run.name}: has the classes {_shorten(other)}, but {runs[0].name} has "
                f"{_shorten(first)}; only runs with the same classes can be compared"
            )
    return runs


def _shorten(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 60 else text[:57] + "..."


def _read_run(workdir: Path, name: str) -> ScoredRun:
    config = load_saved_config(workdir)
    results = read_matching_scores(workdir, config)
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
    )


def read_matching_scores(workdir: Path, config: ConfigDict) -> dict[str, Any]:
    """Read the `metrics.json` of a run.

    Raises:
        UserError: The run has no scores, or they have other classes than the config.
    """
    results = read_scores(workdir)
    if tuple(results["class_names"]) != tuple(config.data.class_names):
        raise UserError(f"{workdir}: the classes of its scores differ from those of its config")
    return results


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
