"""Lovasz losses: the IoU itself, extended to soft predictions."""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import counted_only, masks
from fcnjax.losses.regions import mean_where


def lovasz(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
) -> jax.Array:
    """The Lovasz extension of the Jaccard loss, the mean over the classes that have labels.

    Berman et al. (2018): Lovasz-Softmax (in 0..1) with the softmax head, the Lovasz hinge (>= 0) of
    each channel with sigmoids. Errors are ranked over the whole batch, which sorts its pixels once
    for each class and, over several devices, gathers them.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: Taken so that all losses are called alike; classes weigh alike.
        head: `softmax` or `sigmoid`.

    Returns:
        A float32 scalar.
    """
    del class_weights
    channels = logits.shape[-1]
    logits, labels, counted = counted_only(logits, labels, max(channels, 2), ignore_label, valid)
    target = masks(labels, channels)
    logits = logits.astype(jnp.float32)
    if head == "softmax":
        errors = jnp.abs(target - jax.nn.softmax(logits))
    else:
        errors = 1 - jnp.where(target, logits, -logits)
    flat = (-1, channels)
    errors, target = errors.reshape(flat).T, (target & counted[..., None]).reshape(flat).T
    counted = counted.ravel()
    # One class after the other: all at once would sort, and hold, K batches.
    slopes = jax.lax.map(lambda of: _slopes(*of, counted), (jax.lax.stop_gradient(errors), target))
    losses = jnp.sum(slopes * jax.nn.relu(errors) * counted, -1)
    return mean_where(target.any(-1), losses)


def _slopes(errors: jax.Array, target: jax.Array, counted: jax.Array) -> jax.Array:
    """What a unit of each pixel's error adds to the loss of a class, float32 [N].

    It is by how much the Jaccard loss grows when the pixel becomes wrong too, after all that have
    a greater error.
    """
    # What does not count comes last, where it changes nothing of the others.
    order = jnp.argsort(jnp.where(counted, -errors, jnp.inf))
    of_class = target[order].astype(jnp.int32)
    total = of_class.sum()
    left = (total - jnp.cumsum(of_class) + of_class).astype(jnp.float32)  # before this pixel
    union = (total + jnp.cumsum(1 - of_class)).astype(jnp.float32)  # with it
    # Not as differences of the loss itself, which at a million pixels would be rounded away.
    grown = jnp.where(of_class > 0, 1, left / jnp.maximum(union - 1, 1)) / jnp.maximum(union, 1)
    return jnp.zeros_like(errors).at[order].set(grown, unique_indices=True)
