"""Lovasz losses: the Jaccard index, extended to soft predictions."""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import LossOptions, mask_logits, target_masks
from fcnjax.losses.regions import mean_where


def lovasz(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Lovasz extension of the Jaccard loss, the mean over the classes that have labels.

    Berman et al. (2018): Lovasz-Softmax (in 0..1) with the softmax head, the Lovasz hinge (>= 0) of
    each channel with sigmoids. Errors are ranked over the whole batch: its pixels are sorted once
    for each class and, over several devices, gathered.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels, and the head. Class weights are ignored.

    Returns:
        A float32 scalar.
    """
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    target = target_masks(labels, channels)
    logits = logits.astype(jnp.float32)
    if options.head == "softmax":
        errors = jnp.abs(target - jax.nn.softmax(logits))
    else:
        errors = 1 - jnp.where(target, logits, -logits)
    flat = (-1, channels)
    errors, target = errors.reshape(flat).T, (target & mask[..., None]).reshape(flat).T
    mask = mask.ravel()
    # One class after the other, since all at once would sort, and hold, K batches.
    weights = jax.lax.map(
        lambda each: _error_weights(*each, mask), (jax.lax.stop_gradient(errors), target)
    )
    losses = jnp.sum(weights * jax.nn.relu(errors) * mask, -1)
    return mean_where(target.any(-1), losses)


def _error_weights(errors: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the weight of each pixel's error in the loss of a class, float32 [N].

    It is the growth of the Jaccard loss when the pixel becomes wrong too, after all pixels with a
    larger error.
    """
    # Pixels that do not count come last, where they do not change the others.
    order = jnp.argsort(jnp.where(mask, -errors, jnp.inf))
    is_class = target[order].astype(jnp.int32)
    total = is_class.sum()
    remaining = (total - jnp.cumsum(is_class) + is_class).astype(jnp.float32)  # before this pixel
    union = (total + jnp.cumsum(1 - is_class)).astype(jnp.float32)  # with it
    # Differences of the loss itself would be rounded away at a million pixels.
    growth = jnp.where(is_class > 0, 1, remaining / jnp.maximum(union - 1, 1)) / jnp.maximum(
        union, 1
    )
    return jnp.zeros_like(errors).at[order].set(growth, unique_indices=True)
