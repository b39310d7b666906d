"""Evaluation at the resolution of the labels: of a model over a mesh, and of a predictor.

A predictor is what `fcnjax predict` writes: ensembles, test-time augmentation and thresholds.
"""

import contextlib
import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.data.loading.eval_batches import eval_batches
from fcnjax.data.loading.skipping import UnreadableExample
from fcnjax.errors import UserError
from fcnjax.evaluation.results import Accumulator, Results
from fcnjax.inference import Predictor
from fcnjax.models import make_fold_fn, resize_map
from fcnjax.parallel.mesh import batch_shards, gather, process_shard, to_devices, to_host
from fcnjax.training.step import make_eval_step, mesh_platform


class Evaluator:
    """Evaluates variables on a source of labelled images: `evaluator(variables) -> Results`."""

    def __init__(
        self,
        model: nn.Module,
        config: ConfigDict,
        mesh: Mesh,
        source: data.Source,
        scored: tuple[int, ...] | None = None,
    ):
        """Initialise the step; `scored` has the classes with scores, as in `Results`."""
        metrics.check_eval(config)
        self._scored = scored
        self._config = config.copy_and_resolve_references()
        shards = batch_shards(mesh)
        # The examples that pad a batch to a multiple of the devices are not valid.
        self._config.eval.batch_size = -(-config.eval.batch_size // shards) * shards
        self._config.eval.bucket = math.lcm(config.eval.bucket, mesh.shape["spatial"])
        self._mesh = mesh
        self._source = source
        self._fold = make_fold_fn(model, mesh_platform(mesh))
        self._step = make_eval_step(model, config, mesh)

    def __call__(self, variables: dict[str, Any]) -> Results:
        """Return the exact counts over all images, independent of batches and devices.

        With `config.data.loading.on_error=skip`, unreadable examples are left out, with a warning.
        """
        variables = self._fold(gather(variables, self._mesh))
        accumulator = Accumulator(self._config, len(self._source), self._scored)
        for batch in eval_batches(self._source, self._config, **process_shard(self._mesh)):
            arrays = to_devices(self._with_resize_map(batch), self._mesh)
            index = to_host(arrays.pop("index"))
            counts, mask = self._step(variables, arrays)
            shown = accumulator.add(counts, index)
            if accumulator.extra.on_host:
                _score_images(accumulator.extra, index, arrays, mask)
            if shown.size:
                masks, extents = to_host(mask), _extents(arrays)
                for row in shown:
                    height, width = extents[row]
                    accumulator.keep(int(index[row]), masks[row, :height, :width].copy())
        accumulator.extra.images = _merge(accumulator.extra.images)
        return accumulator.results(self._source)

    def _with_resize_map(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch with `like`, if images are resized by their sizes."""
        resize, image = self._config.eval.resize, batch["image"]
        if resize.rule in ("", "stretch"):
            return batch
        if jax.process_count() > 1:
            raise UserError(
                f"config.eval.resize.rule: {resize.rule} is evaluated by one process; valid: "
                "stretch, or --resize=native"
            )
        extents = batch.get("extent", [image.shape[1:3]] * len(image))
        return batch | {"like": resize_map(extents, resize, self._config.eval.bucket)}


def _extents(arrays: dict[str, jax.Array]) -> np.ndarray:
    """Return the height and width of each image of a batch, `[B, 2]`."""
    if "extent" in arrays:
        return to_host(arrays["extent"])
    size = arrays["label"].shape
    return np.broadcast_to(size[1:3], (size[0], 2))


def _score_images(
    extra: metrics.ExtraScores, index: np.ndarray, arrays: dict[str, jax.Array], mask: jax.Array
) -> None:
    """Compute the boundary metrics of a batch; each process computes those of its share."""
    labels, masks, extents = to_host(arrays["label"]), to_host(mask), _extents(arrays)
    for row, image in enumerate(index.tolist()):
        if image >= 0 and image % jax.process_count() == jax.process_index():
            height, width = extents[row]
            extra.add_image(image, labels[row, :height, :width], masks[row, :height, :width])


def _merge(images: np.ndarray) -> np.ndarray:
    """Combine the rows that each process filled of a table; the others are NaN."""
    if jax.process_count() == 1 or not images.size:
        return images
    # Sent as bits, since JAX would round float64.
    parts = multihost_utils.process_allgather(images.view(np.uint32))
    return np.fmax.reduce(np.ascontiguousarray(parts).view(np.float64))


def evaluate_predictor(
    predictor: Predictor,
    config: ConfigDict,
    source: data.Source,
    scored: tuple[int, ...] | None = None,
) -> Results:
    """Evaluate a predictor on the images of a source, one after the other.

    The results have no loss, which is computed from the logits of one model.

    Args:
        predictor: The predictor. Its request must include the output `probabilities` if a metric of
            `config.eval.metrics` needs them.
        config: A resolved config.
        source: The images and labels.
        scored: As in `Results`.
    """
    metrics.check_eval(config)
    classes, ignore = len(config.data.class_names), config.data.ignore_label
    accumulator = Accumulator(config, len(source), scored)
    for index in range(len(source)):
        with contextlib.suppress(UnreadableExample):
            example = source[index]
            label = np.asarray(example["label"])
            prediction = predictor(np.asarray(example["image"]))
            matrix = metrics.confusion_matrix(label, prediction.mask, classes, ignore)
            counts = {"confusion": matrix, "images": metrics.image_counts(matrix[None])}
            if prediction.probabilities is not None:
                counts |= metrics.image_histograms(
                    config.eval.metrics, prediction.probabilities, label, ignore
                )
            if accumulator.add(counts, np.asarray([index])).size:
                accumulator.keep(index, prediction.mask)
            if accumulator.extra.on_host:
                accumulator.extra.add_image(index, label, prediction.mask)
    return replace(accumulator.results(source), loss=None)
