"""Focal loss, a cross-entropy that down-weights easy pixels, and the unified focal loss."""

import functools

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import (
    LossOptions,
    activate,
    mask_logits,
    one_hot,
    pixel_weights,
    target_masks,
)
from fcnjax.losses.regions import mean_where, power_of_losses, tversky_losses


def focal(
    logits: jax.Array, labels: jax.Array, options: LossOptions, *, gamma: float = 2.0
) -> jax.Array:
    """Focal loss of Lin et al. (2017), `-(1 - p)^gamma log p` with p the true class's probability.

    The mean over counted pixels, weighted by class: the paper's alpha of 0.25 is the class weights
    0.75, 0.25. With a sigmoid head each channel is one class against the rest, and the channels are
    averaged.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels, their weights, and the head.
        gamma: The exponent, >= 0; 0 is the cross-entropy.

    Returns:
        A float32 scalar, >= 0.
    """
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    weights = pixel_weights(labels, mask, options.class_weights)
    logits = logits.astype(jnp.float32)
    if options.head == "softmax":
        losses = softmax_focal(logits, labels, gamma)
    else:
        signed = jnp.where(target_masks(labels, channels), logits, -logits)
        # `log(1 - p)` is -softplus(z); a power of 1 - p itself has no gradient at p = 1.
        losses = (jnp.exp(-gamma * jax.nn.softplus(signed)) * jax.nn.softplus(-signed)).mean(-1)
    return jnp.sum(losses * weights)


def softmax_focal(logits: jax.Array, labels: jax.Array, gamma: float) -> jax.Array:
    """Return the focal loss of each pixel under a softmax, float32 [B, H, W]."""
    is_label = one_hot(labels, logits.shape[-1])
    # The maximum is subtracted first, since at 1e4 the differences would lose digits.
    shifted = logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    total = jax.nn.logsumexp(shifted, -1)
    rest = jax.nn.logsumexp(jnp.where(is_label, -1e30, shifted), -1)  # a finite log of 0
    nll = total - jnp.sum(jnp.where(is_label, shifted, 0), -1)
    return jnp.exp(gamma * (rest - total)) * nll


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
