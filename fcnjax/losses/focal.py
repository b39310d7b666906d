"""Focal loss, a cross-entropy that down-weights easy pixels."""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import LossOptions, mask_logits, one_hot, pixel_weights, target_masks


def focal(
    logits: jax.Array,
    labels: jax.Array,
    options: LossOptions,
    *,
    gamma: float = 2.0,
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
