"""Evaluation at the labels' own resolution, and `fcnjax evaluate`."""

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.config import default_config, override
from fcnjax.data import pipeline
from fcnjax.errors import UserError
from fcnjax.files import write_json
from fcnjax.hosts import add_host_arguments, check_alike, joined
from fcnjax.mesh import (
    batch_shards,
    data_place,
    gathered,
    make_mesh,
    replicated,
    to_devices,
    to_host,
)
from fcnjax.models import make_fold
from fcnjax.packages import to_stderr
from fcnjax.predict import add_model_arguments, load_variables, parse_step
from fcnjax.report import write_report
from fcnjax.steps import make_eval_step, target_of

METRICS_FILE = "metrics.json"
# Keys of config.data that say where the images are and what is done where one cannot be read;
# others would make it another model.
WHERE = (
    "source",
    "root",
    "images",
    "masks",
    "mask_suffix",
    "name",
    "annotations",
    "encoding",
    "mask_values",
    "mask_colours",
    "mask_names",
    "ignore_values",
    "window",
    "axis",
    "intensity",
    "split_by",
    "eval_split",
    "eval_fraction",
    "split_seed",
    "folds",
    "fold",
    "group_by",
    "on_error",
    "skip_most",
)


@dataclass
class Results:
    """What an evaluation found.

    Attributes:
        confusion: `[C, C]` int64 pixel counts, rows by label and columns by prediction.
        class_names: The names of its classes.
        examples: A few images with their label and prediction, for the report.
        left_out: How many examples could not be read, and are not counted.
        extra: The scores that `config.eval.metrics` asks for.
    """

    confusion: np.ndarray
    class_names: tuple[str, ...]
    examples: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Any]:
        """Every figure, by class and over all."""
        return metrics.compute(self.confusion, self.class_names) | self.extra

    @property
    def summary(self) -> dict[str, float]:
        """The figures by name, as `mean_iou` and `dice/vessel`."""
        return metrics.flat(self.metrics)


class Evaluator:
    """Evaluates variables on the evaluation split: `evaluator(variables) -> Results`."""

    def __init__(self, model: nn.Module, config: ConfigDict, mesh: Mesh, source: data.Source):
        metrics.check_eval(config)
        self._config = config.copy_and_resolve_references()
        shards = batch_shards(mesh)
        # Padding to a multiple of the devices is invisible: examples that are not valid.
        self._config.eval.batch_size = -(-config.eval.batch_size // shards) * shards
        self._config.eval.bucket = math.lcm(config.eval.bucket, mesh.shape["spatial"])
        self._mesh = mesh
        self._source = source
        self._fold = make_fold(model, target_of(mesh))
        self._step = make_eval_step(model, config, mesh)

    def __call__(self, variables: dict[str, Any]) -> Results:
        """Returns the exact counts over the whole split, whatever the batches and devices.

        Under `config.data.on_error=skip`, less the examples that cannot be read; says how many.
        """
        config, classes = self._config, len(self._config.data.class_names)
        variables = self._fold(gathered(variables, self._mesh))
        total = metrics.ConfusionState(classes)
        shown = set(_evenly(len(self._source), config.eval.examples))
        extra = metrics.ExtraScores(config, len(self._source))
        examples, counted = {}, 0
        for batch in pipeline.eval_batches(self._source, config, **data_place(self._mesh)):
            arrays = to_devices(batch, self._mesh)
            index = to_host(arrays.pop("index"))
            counts, mask = self._step(variables, arrays)
            total.add(counts["confusion"])
            extra.add(counts)
            if extra.on_host:
                _score_images(extra, index, arrays, mask)
            counted += int((index >= 0).sum())
            for row in np.flatnonzero(np.isin(index, list(shown))):
                example = self._source[int(index[row])]
                height, width = example["label"].shape
                prediction = to_host(mask)[row, :height, :width]
                examples[int(index[row])] = {**example, "prediction": prediction}
        ordered = [examples[index] for index in sorted(examples)]
        left_out = len(self._source) - counted
        if left_out and jax.process_index() == 0:
            to_stderr(
                f"warning: {left_out} of {len(self._source)} examples of the evaluation could not "
                "be read and are left out of the score"
            )
        extra.images = _merged(extra.images)
        names = tuple(config.data.class_names)
        return Results(total.counts, names, ordered, left_out, extra.compute())


def _score_images(
    extra: metrics.ExtraScores, index: np.ndarray, arrays: dict[str, jax.Array], mask: jax.Array
) -> None:
    """Scores the outlines of a batch's images; of several processes, each scores its share."""
    labels, masks = to_host(arrays["label"]), to_host(mask)
    extents = to_host(arrays["extent"]) if "extent" in arrays else None
    for row in np.flatnonzero(index >= 0):
        if index[row] % jax.process_count() == jax.process_index():
            height, width = labels.shape[1:] if extents is None else extents[row]
            own = (labels[row, :height, :width], masks[row, :height, :width])
            extra.add_image(int(index[row]), *own)


def _merged(images: np.ndarray) -> np.ndarray:
    """Joins the rows that each process has filled of a table that is nan elsewhere."""
    if jax.process_count() == 1 or not images.size:
        return images
    # As bits: JAX would round float64.
    parts = multihost_utils.process_allgather(images.view(np.uint32))
    return np.fmax.reduce(np.ascontiguousarray(parts).view(np.float64))


def _evenly(length: int, count: int) -> list[int]:
    """At most `count` indices spread evenly over `length`."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).astype(int)).tolist()


def write_results(
    workdir: str | Path,
    config: ConfigDict,
    results: Results,
    step: int,
    *,
    out: str | Path | None = None,
) -> None:
    """Writes `metrics.json` and `report.html` to `out`, by default the workdir."""
    out = Path(workdir if out is None else out)
    write_json(
        out / METRICS_FILE,
        {
            "step": step,
            "split": config.data.eval_split,
            "class_names": results.class_names,
            "metrics": results.summary,
            **({"left_out": results.left_out} if results.left_out else {}),
            **{key: results.extra[key] for key in ("reliability",) if key in results.extra},
            "confusion": results.confusion.tolist(),
        },
    )
    write_report(
        out,
        config,
        {"step": step, **results.metrics},
        results.confusion,
        results.examples,
        command=f"fcnjax evaluate --workdir={workdir}\n"
        f"fcnjax predict --workdir={workdir} IMAGES... --out=DIR",
    )


def main(argv: list[str]) -> int:
    """`fcnjax evaluate`."""
    args, overrides = _parse(argv)
    with joined(args):
        _evaluate(args, overrides)
    return 0


def _evaluate(args: argparse.Namespace, overrides: list[str]) -> None:
    # The devices are those that are here, not those of the run.
    here = default_config()
    for word in overrides:
        if word.startswith("--config.mesh."):
            override(here, word)
    mesh = make_mesh(here)
    config, model, variables, step = load_variables(
        args.workdir, parse_step(args.step), args.dtype, replicated(mesh)
    )
    config.mesh = here.mesh
    for word in overrides:
        override(config, word)
    if len(config.data.mask_values) != len(config.data.class_names):
        raise UserError(
            f"--config.data.mask_values: has {len(config.data.mask_values)} values, and the model "
            f"has {len(config.data.class_names)} classes"
        )
    check_alike(config, args.workdir)
    evaluator = Evaluator(model, config, mesh, data.open_source(config, "eval"))
    results = evaluator(variables)
    if jax.process_index():
        return
    print(metrics.format_table(results.metrics))
    out = args.out or args.workdir
    write_results(args.workdir, config, results, step, out=out)
    print(f"step {step}: {out}/{METRICS_FILE}, {out}/report.html")


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and words that change keys of the config."""
    parser = argparse.ArgumentParser(
        prog="fcnjax evaluate",
        description="Score a checkpoint on the evaluation split; print the table, and write "
        "metrics.json and report.html. --config.data.KEY=VALUE says where other images are, with "
        f"KEY one of {', '.join(WHERE)}; --config.mesh.KEY=VALUE how devices share the work.",
        epilog="example: fcnjax evaluate --workdir=runs/stare",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="where the two files go (the workdir)")
    add_host_arguments(parser)
    args, overrides = parser.parse_known_args(argv)
    known = "--config.eval.", "--config.mesh.", *(f"--config.data.{key}=" for key in WHERE)
    for word in overrides:
        if not word.startswith(known):
            raise UserError(
                f"fcnjax evaluate: unknown argument {word!r}; see fcnjax evaluate --help"
            )
    if args.out is None and "://" in args.workdir:
        raise UserError(f"--out: say where the scores of {args.workdir} go")
    return args, overrides
