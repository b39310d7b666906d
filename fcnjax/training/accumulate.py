"""Gradient accumulation: a batch in parts, one after the other, with the memory of one part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fcnjax.augment import MixedBatch
from fcnjax.errors import UserError
from fcnjax.losses import class_weighted
from fcnjax.metrics.valid_mask import valid_mask
from fcnjax.parallel.mesh import batch_shards

GradFn = Callable[..., tuple[tuple[jax.Array, tuple[dict, Any]], Any]]


def check_accumulate(config: ConfigDict, mesh: Mesh, size: int) -> None:
    """Raise UserError unless a batch of `size` divides into `train.accumulate` parts per device."""
    parts, shards = config.train.accumulate, batch_shards(mesh)
    if parts < 1 or size % (parts * shards):
        valid = [n for n in range(1, size // shards + 1) if size % (n * shards) == 0]
        raise UserError(
            f"config.train.accumulate: {parts} parts of a batch of {size} do not divide over "
            f"{shards} devices; valid: {', '.join(map(str, valid))}"
        )


def accumulate_gradients(
    grad_fn: GradFn,
    args: tuple[Any, dict[str, Any], MixedBatch, jax.Array, jax.Array],
    config: ConfigDict,
    mesh: Mesh,
) -> Any:
    """Compute the loss and gradients of a batch in `train.accumulate` parts.

    A loss that is a mean over all valid pixels (`cross_entropy`, `binary_cross_entropy`, `focal`,
    `boundary`) is exact: each part is weighted by its valid pixels and their class weights. For any
    other loss, the result is the weighted mean of the parts: Dice and similar losses sum over a
    part, `ohem_cross_entropy` selects the hardest pixels of a part, and `border_weight` divides by
    the weights of a part. Batch norm normalises each part and updates its running statistics once a
    part.

    Args:
        grad_fn: `grad_fn(params, variables, mixed, valid, key)` returns
            `((loss, (terms, batch_stats)), gradients)`.
        args: Its arguments for the entire batch; each part gets a key derived from the batch's.
        config: The config.
        mesh: The mesh. Each part takes equally many examples from each device, so that no example
            is moved.

    Returns:
        As `grad_fn`.
    """
    params, variables, mixed, valid, key = args
    parts = config.train.accumulate

    def split(array: jax.Array) -> jax.Array:
        # The index modulo the number of parts selects the part, on any number of devices.
        array = array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)
        sharding = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
        return jax.lax.with_sharding_constraint(array, sharding)

    def shares(labels: jax.Array) -> jax.Array:
        weights = split(image_weights(labels, valid, config)).sum(1)
        total = weights.sum()
        return weights / jnp.where(total > 0, total, 1)

    stacked = MixedBatch(split(mixed.image), split(mixed.label), share=shares(mixed.label))
    if mixed.other is not None:
        stacked = stacked._replace(
            other=split(mixed.other),
            weight=jnp.broadcast_to(mixed.weight, parts),
            other_share=shares(mixed.other),
        )
    inputs = (stacked, split(valid), jax.random.split(key, parts))

    def add(carry: tuple, part: tuple) -> tuple[tuple, None]:
        stats, sums = carry
        (loss, (terms, stats)), grads = grad_fn(params, {**variables, "batch_stats": stats}, *part)
        return (stats, jax.tree.map(jnp.add, sums, (loss, terms, grads))), None

    first = jax.tree.map(lambda array: array[0], inputs)
    (loss, (terms, _)), grads = jax.eval_shape(grad_fn, params, variables, *first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (loss, terms, grads))
    (stats, (loss, terms, grads)), _ = jax.lax.scan(add, (variables["batch_stats"], zeros), inputs)
    return (loss, (terms, stats)), grads


def image_weights(labels: jax.Array, valid: jax.Array, config: ConfigDict) -> jax.Array:
    """Return the total weight of each example's valid pixels in a cross-entropy, float32 `[B]`.

    Args:
        labels: `[B, H, W]` int32.
        valid: Bool `[B]`.
        config: The config.
    """
    mask = valid_mask(labels, len(config.data.class_names), config.data.ignore_label, valid)
    return class_weighted(labels, mask, config.loss.class_weights).sum((1, 2))
