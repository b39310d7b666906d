"""Asymmetric unified focal loss, for small foreground classes."""

import functools

import jax
import jax.numpy as jnp

from fcnjax.losses.focal import softmax_focal
from fcnjax.losses.pixels import (
    LossOptions,
    activate,
    mask_logits,
    one_hot,
    pixel_weights,
    target_masks,
)
from fcnjax.losses.regions import mean_where, power_of_losses, tversky_losses


def unified_focal(
    logits: jax.Array,
    labels: jax.Array,
    options: LossOptions,
    *,
    delta: float = 0.6,
    gamma: float = 0.5,
) -> jax.Array:
    """Asymmetric unified focal loss of Yeung et al. (2022), a mean of two terms.

    The first is a cross-entropy, in which class 0 weighs `1 - delta` and is focal, and all other
    classes weigh `delta`. The second is the mean over classes of the Tversky losses 1 - TI, with
    the weights `delta` of false negatives and `1 - delta` of false positives; those of the classes
    except 0 are raised to the power `1 - gamma`. Both terms weigh 0.5 (the paper's lambda). With a
    sigmoid head each channel is one class against the rest, and the channels are averaged.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels, and the head. Class weights are ignored.
        delta: Weight of the foreground and of false negatives, between 0 and 1.
        gamma: Suppression of easy background and enhancement of hard foreground, from 0 to below 1.

    Returns:
        A float32 scalar, >= 0.
    """
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    logits = logits.astype(jnp.float32)
    loss = functools.partial(_softmax_loss, mask=mask, delta=delta, gamma=gamma)
    if options.head == "softmax":
        return loss(logits, labels)
    # The sigmoid of z is the softmax of 0 and z.
    pairs = jnp.stack([jnp.zeros_like(logits), logits], -1)
    targets = target_masks(labels, channels).astype(jnp.int32)
    return jax.vmap(loss, in_axes=(3, 3))(pairs, targets).mean()


def _softmax_loss(
    logits: jax.Array, labels: jax.Array, mask: jax.Array, delta: float, gamma: float
) -> jax.Array:
    """Return the loss of logits [B, H, W, K] under a softmax; logits outside the mask are 0."""
    background = (1 - delta) * softmax_focal(logits, labels, gamma)
    foreground = delta * softmax_focal(logits, labels, 0)
    pixels = jnp.where(labels == 0, background, foreground)
    cross_entropy = jnp.sum(pixels * pixel_weights(labels, mask, None))
    predicted = activate(logits, "softmax") * mask[..., None]
    target = one_hot(labels, logits.shape[-1]) & mask[..., None]
    losses, present = tversky_losses(predicted, target, alpha=1 - delta, beta=delta)
    raised = power_of_losses(losses, 1 - gamma)
    losses = jnp.where(jnp.arange(losses.size) == 0, losses, raised)
    return (cross_entropy + mean_where(present, losses)) / 2
