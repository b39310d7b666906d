"""A step over a batch in parts, one after the other, with the memory of a part."""

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


def check_accumulate(config: ConfigDict, mesh: Mesh, size: int) -> None:
    """Raises UserError unless `train.accumulate` parts of `size` images divide over the devices."""
    parts, shards = config.train.accumulate, batch_shards(mesh)
    if parts < 1 or size % (parts * shards):
        fit = [n for n in range(1, size // shards + 1) if size % (n * shards) == 0]
        raise UserError(
            f"config.train.accumulate: {parts} parts of a batch of {size} do not divide over "
            f"{shards} devices; valid: {', '.join(map(str, fit))}"
        )


def accumulated(
    grad_fn: Callable[..., Any],
    params: Any,
    variables: dict[str, Any],
    mixed: MixedBatch,
    valid: jax.Array,
    key: jax.Array,
    config: ConfigDict,
    mesh: Mesh,
) -> Any:
    """Compute the losses and gradients of a whole batch in `train.accumulate` parts.

    A loss that is a mean over all counted pixels (`cross_entropy`, `binary_cross_entropy`, `focal`,
    `boundary`) is exact: each part is weighted by its counted pixels (with class weights). Any
    other is the weighted mean of the losses of the parts: Dice and the like sum over a part,
    `ohem_cross_entropy` keeps the hardest pixels of a part, `border_weight` divides by the weights
    of a part. Batch norm normalises each part, and its running statistics move once a part.

    Args:
        grad_fn: `grad_fn(params, variables, mixed, valid, key)` returns
            `((loss, (terms, batch_stats)), gradients)`.
        params: The parameters.
        variables: The variables, `batch_stats` among them.
        mixed: The batch.
        valid: Bool `[B]`.
        key: Each part gets one of its own, made of it.
        config: The whole config.
        mesh: The mesh. A part takes its examples evenly from all devices, so that none is moved.
    """
    parts = config.train.accumulate

    def split(array: jax.Array) -> jax.Array:
        # The part of an example is the remainder of its place: on any number of devices the same.
        array = array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)
        place = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
        return jax.lax.with_sharding_constraint(array, place)

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
    given = (stacked, split(valid), jax.random.split(key, parts))

    def add(carry: tuple, part: tuple) -> tuple[tuple, None]:
        stats, sums = carry
        (loss, (terms, stats)), grads = grad_fn(params, {**variables, "batch_stats": stats}, *part)
        return (stats, jax.tree.map(jnp.add, sums, (loss, terms, grads))), None

    first = jax.tree.map(lambda array: array[0], given)
    (loss, (terms, _)), grads = jax.eval_shape(grad_fn, params, variables, *first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (loss, terms, grads))
    (stats, (loss, terms, grads)), _ = jax.lax.scan(add, (variables["batch_stats"], zeros), given)
    return (loss, (terms, stats)), grads


def image_weights(labels: jax.Array, valid: jax.Array, config: ConfigDict) -> jax.Array:
    """What the counted pixels of each example weigh together in a cross-entropy, float32 `[B]`.

    Args:
        labels: `[B, H, W]` int32.
        valid: Bool `[B]`.
        config: The whole config.
    """
    counted = valid_mask(labels, len(config.data.class_names), config.data.ignore_label, valid)
    return class_weighted(labels, counted, config.loss.class_weights).sum((1, 2))
