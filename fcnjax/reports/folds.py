"""Scores of a cross-validation, over its runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax import metrics
from fcnjax.config import differences
from fcnjax.data.splits.stored_split import Key, StoredSet, read_split
from fcnjax.errors import UserError, one_line
from fcnjax.evaluation import read_scores
from fcnjax.training.workdir import MAY_DIFFER, SET_PLACES, load_saved_config

OF_ONE = ("data.split.fold", "loss.class_weights")  # what differs between the runs by its nature


def summarise(workdirs: Sequence[str | Path]) -> dict[str, Any]:
    """The scores over the folds.

    Returns:
        `{"folds": [0, 1, ...], "scores": {name: {"of_each": [...], "mean": m, "deviation": s,
        "pooled": p}}}`: the deviation is that of a sample (n - 1), and nan over one fold; a fold in
        which a score is nan is left out of both; `pooled` is by the sum of the matrices, of all
        images together.

    Raises:
        UserError: A workdir has no scores, is no fold, is one twice, is of another config, or
            divided other images.
    """
    runs = sorted(map(_read, map(Path, workdirs)), key=lambda run: run[1].data.split.fold)
    _check_alike(runs)
    scores = [run[2]["metrics"] for run in runs]
    pooled = metrics.flat(
        metrics.compute(
            sum(np.asarray(run[2]["confusion"]) for run in runs), runs[0][2]["class_names"]
        )
    )
    found = {}
    for name in (name for name in scores[0] if all(name in each for each in scores)):
        of_each = [float("nan") if s[name] is None else s[name] for s in scores]
        known = np.asarray([value for value in of_each if not np.isnan(value)])
        found[name] = {
            "of_each": of_each,
            "mean": float(known.mean()) if known.size else float("nan"),
            "deviation": float(known.std(ddof=1)) if known.size > 1 else float("nan"),
            "pooled": pooled.get(name, float("nan")),
        }
    return {"folds": [run[1].data.split.fold for run in runs], "scores": found}


def _read(workdir: Path) -> tuple[Path, ConfigDict, dict[str, Any]]:
    config = load_saved_config(workdir)
    if not config.data.split.folds:
        raise UserError(f"{workdir}: is no run of a fold: its config.data.split.folds is 0")
    scores = read_scores(workdir)
    if trained_on := scores.get("trained_on"):
        raise UserError(
            f"{workdir}: its last evaluation scored {trained_on} images that it was trained on; "
            f"`fcnjax evaluate --workdir={workdir}` scores the fold that it held out"
        )
    if tuple(scores["class_names"]) != tuple(config.data.class_names):
        raise UserError(f"{workdir}: its scores are of other classes than its config has")
    return workdir, config, scores


def _check_alike(runs: Sequence[tuple[Path, ConfigDict, dict[str, Any]]]) -> None:
    first, config, _ = runs[0]
    splits = [read_split(workdir) for workdir, _, _ in runs]
    # Where the images are does not matter if they are known to be the same.
    places = [f"data.{key}" for key in SET_PLACES] if all(splits) else []
    for workdir, other, _ in runs[1:]:
        if keys := differences(config, other, (*MAY_DIFFER, *OF_ONE, *places)):
            raise UserError(
                f"{workdir}: differs from {first} in config.{keys[0]}, not by fold alone"
            )
    folds = [run[1].data.split.fold for run in runs]
    for one, other, workdir in zip(folds, folds[1:], [run[0] for run in runs[1:]], strict=False):
        if one == other:
            raise UserError(f"{workdir}: is fold {other} too; give each fold once")
    _check_splits({run[0]: split[0] for run, split in zip(runs, splits, strict=True) if split})


def _check_splits(splits: Mapping[Path, StoredSet]) -> None:
    """Raises UserError where runs did not divide the same images, so that folds may overlap."""
    held_out: dict[Key, Path] = {}
    for workdir, own in splits.items():
        first = next(iter(splits))
        if own.keys() != splits[first].keys():
            raise UserError(
                f"{workdir}: divided other images than {first}: the set changed between the two, "
                "and their folds overlap; train one of them anew"
            )
        for one in own.parts["eval"]:
            if one.key in held_out:
                raise UserError(f"{workdir}: holds out {one.title}, as {held_out[one.key]} does")
            held_out[one.key] = workdir


def as_table(found: dict[str, Any]) -> str:
    """The scores as lines of text, in percent; one that is nan shows as `-`."""
    folds = found["folds"]
    width = max((len(one_line(name)) for name in found["scores"]), default=0)
    heads = [*(f"fold {fold}" for fold in folds), "mean", "+-", "pooled"]
    lines = ["".join([f"{'':<{width}}", *(f"{head:>9}" for head in heads)])]
    for name, score in found["scores"].items():
        values = [*score["of_each"], score["mean"], score["deviation"], score["pooled"]]
        cells = "".join(f"{'-':>9}" if np.isnan(v) else f"{100 * v:>9.2f}" for v in values)
        lines.append(f"{one_line(name):<{width}}{cells}")
    return "\n".join(lines)
