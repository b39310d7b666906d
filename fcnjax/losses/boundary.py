"""Boundary loss: errors weighted by their distance to the true border."""

import jax
import jax.numpy as jnp

from fcnjax.losses.distance import distance_to
from fcnjax.losses.pixels import LossOptions, activate, mask_logits, pixel_weights, target_masks


def boundary(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Boundary loss of Kervadec et al. (2019), in pixels (>= 0).

    The mean over counted pixels and classes of `phi * (p - y)`, where phi is the signed distance to
    the region of the class: outside, the distance to its nearest pixel; inside, 1 minus the
    distance to the nearest pixel of another class (as in the paper's code). The paper omits the
    constant `phi * y`; with it, the loss of a right prediction is 0. A class that fills an image or
    is absent from it adds nothing, so combine this loss with another, such as Dice.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels, their weights, and the head.

    Returns:
        A float32 scalar.
    """
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    weights = pixel_weights(labels, mask, options.class_weights)
    target = target_masks(labels, channels)
    errors = activate(logits, options.head) - target
    phi = jax.vmap(_signed_distance, (-1, None), -1)(target, mask)
    return jnp.sum((phi * errors).mean(-1) * weights)


def _signed_distance(region: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the signed distance to a region, float32 [B, H, W], 0 or less inside."""
    outside, inside = distance_to(region & mask), distance_to(~region & mask)
    phi = jnp.where(region, 1 - inside, outside)
    # An image without a border has no distance to it.
    has_border = jnp.isfinite(outside) & jnp.isfinite(inside)
    return jnp.where(has_border & mask, phi, 0)
