"""Scores of a cross-validation, over its runs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.config import differences
from fcnjax.data.splits.stored_split import Key, read_split
from fcnjax.errors import UserError, one_line
from fcnjax.evaluation import read_scores
from fcnjax.training.workdir import DATASET_LOCATIONS, RESUMABLE_KEYS, load_saved_config

FOLD_KEYS = ("data.split.fold", "loss.class_weights")  # keys that differ between folds by design


class _Fold(NamedTuple):
    number: int
    workdir: Path
    config: ConfigDict
    results: Mapping[str, Any]


def summarise(workdirs: Sequence[str | Path]) -> dict[str, Any]:
    """Summarise the scores over the folds.

    Returns:
        `{"folds": [0, 1, ...], "scores": {name: {"of_each": [...], "mean": m, "deviation": s,
        "pooled": p}}}`. The deviation is that of a sample (n - 1), and nan for one fold. Folds in
        which a score is nan are left out of mean and deviation. `pooled` is the score of the sum
        of all confusion matrices.

    Raises:
        UserError: A workdir has no scores, is not a fold or is given twice, has another config, or
            divided other images.
    """
    folds = sorted((_read_fold(Path(workdir)) for workdir in workdirs), key=lambda f: f.number)
    _check_alike(folds)
    confusion = sum(np.asarray(fold.results["confusion"]) for fold in folds)
    pooled = metrics.flat(metrics.compute(confusion, folds[0].results["class_names"]))
    scores = [fold.results["metrics"] for fold in folds]
    summary = {}
    for name in (name for name in scores[0] if all(name in each for each in scores)):
        of_each = [math.nan if each[name] is None else each[name] for each in scores]
        defined = [value for value in of_each if not math.isnan(value)]
        summary[name] = {
            "of_each": of_each,
            "mean": float(np.mean(defined)) if defined else math.nan,
            "deviation": float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan,
            "pooled": pooled.get(name, math.nan),
        }
    return {"folds": [fold.number for fold in folds], "scores": summary}


def _read_fold(workdir: Path) -> _Fold:
    config = load_saved_config(workdir)
    if not config.data.split.folds:
        raise UserError(
            f"{workdir}: is not a fold of a cross-validation: config.data.split.folds is 0"
        )
    results = read_scores(workdir, config)
    if trained_on := results.get("trained_on"):
        raise UserError(
            f"{workdir}: its last evaluation scored {trained_on} images that it was trained on; "
            f"`fcnjax evaluate --model={workdir}` scores the fold that it held out"
        )
    return _Fold(config.data.split.fold, workdir, config, results)


def _check_alike(folds: Sequence[_Fold]) -> None:
    """Raise UserError if the runs are not different folds of one cross-validation."""
    first = folds[0]
    splits = {fold.workdir: read_split(fold.workdir) for fold in folds}
    # The paths of the images do not matter if the images are known to be the same.
    paths = [f"data.{key}" for key in DATASET_LOCATIONS] if all(splits.values()) else []
    planned = {key for fold in folds for key, _ in fold.config.plan.auto}
    may_differ = (*RESUMABLE_KEYS, *FOLD_KEYS, *paths, *planned)
    for fold in folds[1:]:
        if keys := differences(first.config, fold.config, may_differ):
            raise UserError(
                f"{fold.workdir}: differs from {first.workdir} in config.{keys[0]}, not only in "
                "its fold"
            )
    for fold, following in itertools.pairwise(folds):
        if fold.number == following.number:
            raise UserError(f"{following.workdir}: is fold {fold.number} too; give each fold once")
    # Folds of different images may overlap.
    stored = {workdir: split[0] for workdir, split in splits.items() if split}
    held_out: dict[Key, Path] = {}
    for workdir, split in stored.items():
        other, expected = next(iter(stored.items()))
        if split.keys() != expected.keys():
            raise UserError(
                f"{workdir}: divided other images than {other}: the dataset changed between the "
                "two, so their folds overlap; train one of them again"
            )
        for example in split.parts["eval"]:
            if example.key in held_out:
                raise UserError(
                    f"{workdir}: holds out {example.title}, and so does {held_out[example.key]}"
                )
            held_out[example.key] = workdir


def as_table(summary: dict[str, Any]) -> str:
    """Format the summary as lines of text; a score that is nan shows as `-`.

    Scores are in percent, distances in pixels or the unit of `config.eval.spacing`.
    """
    folds, scores = summary["folds"], summary["scores"]
    width = max((len(one_line(name)) for name in scores), default=0)
    header = [*(f"fold {fold}" for fold in folds), "mean", "+-", "pooled"]
    lines = ["".join([f"{'':<{width}}", *(f"{title:>9}" for title in header)])]
    for name, score in scores.items():
        values = [*score["of_each"], score["mean"], score["deviation"], score["pooled"]]
        cells = "".join(f"{metrics.number(v, metrics.metric_of(name)):>9}" for v in values)
        lines.append(f"{one_line(name):<{width}}{cells}")
    return "\n".join(lines)
