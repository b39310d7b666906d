"""Evaluation of a model over a mesh, at the labels' own resolution."""

import math
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.data.loading import pipeline
from fcnjax.evaluation.results import Accumulator, Results
from fcnjax.models import make_fold_fn
from fcnjax.parallel.mesh import batch_shards, gathered, process_shard, to_devices, to_host
from fcnjax.training.step import make_eval_step, mesh_platform


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
        self._fold = make_fold_fn(model, mesh_platform(mesh))
        self._step = make_eval_step(model, config, mesh)

    def __call__(self, variables: dict[str, Any]) -> Results:
        """Returns the exact counts over the whole split, whatever the batches and devices.

        Under `config.data.on_error=skip`, less the examples that cannot be read; says how many.
        """
        variables = self._fold(gathered(variables, self._mesh))
        tally = Accumulator(self._config, len(self._source))
        for batch in pipeline.eval_batches(self._source, self._config, **process_shard(self._mesh)):
            arrays = to_devices(batch, self._mesh)
            index = to_host(arrays.pop("index"))
            counts, mask = self._step(variables, arrays)
            worst = tally.add(counts, index)
            if tally.extra.on_host:
                _score_images(tally.extra, index, arrays, mask)
            if worst.size:
                masks, extents = to_host(mask), _extents(arrays)
                for row in worst:
                    height, width = extents[row]
                    tally.keep(int(index[row]), masks[row, :height, :width].copy())
        tally.extra.images = _merged(tally.extra.images)
        return tally.results(self._source)


def _extents(arrays: dict[str, jax.Array]) -> np.ndarray:
    """The height and width of each image of a batch, `[B, 2]`."""
    if "extent" in arrays:
        return to_host(arrays["extent"])
    size = arrays["label"].shape
    return np.broadcast_to(size[1:3], (size[0], 2))


def _score_images(
    extra: metrics.ExtraScores, index: np.ndarray, arrays: dict[str, jax.Array], mask: jax.Array
) -> None:
    """Scores the outlines of a batch's images; of several processes, each scores its share."""
    labels, masks, extents = to_host(arrays["label"]), to_host(mask), _extents(arrays)
    for row in np.flatnonzero(index >= 0):
        if index[row] % jax.process_count() == jax.process_index():
            height, width = extents[row]
            own = (labels[row, :height, :width], masks[row, :height, :width])
            extra.add_image(int(index[row]), *own)


def _merged(images: np.ndarray) -> np.ndarray:
    """Joins the rows that each process has filled of a table that is nan elsewhere."""
    if jax.process_count() == 1 or not images.size:
        return images
    # As bits: JAX would round float64.
    parts = multihost_utils.process_allgather(images.view(np.uint32))
    return np.fmax.reduce(np.ascontiguousarray(parts).view(np.float64))
