"""Boundary loss: errors weighted by their distance to the true border."""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import LossOptions, activate, mask_logits, pixel_weights, target_masks

_UNROLLED = 8  # pixels of a line that one iteration of the loop compares


def distance_to(mask: jax.Array) -> jax.Array:
    """Return the distance of each pixel to the nearest one of a mask, in pixels.

    Distances are found along the height, and then the minimum of all sums of squares along the
    width (Felzenszwalb, Huttenlocher, Distance Transforms of Sampled Functions, 2012). This takes
    B H W W operations, and a few times the memory of the mask.

    Args:
        mask: Bool [B, H, W].

    Returns:
        Float32 [B, H, W]; inf in an image whose mask is empty.
    """
    positions = jnp.arange(mask.shape[1], dtype=jnp.float32)[:, None]
    before = jax.lax.cummax(jnp.where(mask, positions, -jnp.inf), axis=1)
    after = jax.lax.cummin(jnp.where(mask, positions, jnp.inf), axis=1, reverse=True)
    return jnp.sqrt(_nearest(jnp.minimum(positions - before, after - positions) ** 2))


def _nearest(squares: jax.Array) -> jax.Array:
    """Return the minimum over z of `squares[..., z] + (x - z)^2`, for each x."""
    length = squares.shape[-1]
    positions = jnp.arange(length, dtype=jnp.float32)
    iterations = -(-length // _UNROLLED)
    padded = jnp.pad(
        squares, ((0, 0), (0, 0), (0, iterations * _UNROLLED - length)), constant_values=jnp.inf
    )

    def compare(iteration: jax.Array, minimum: jax.Array) -> jax.Array:
        start = iteration * _UNROLLED
        chunk = jax.lax.dynamic_slice_in_dim(padded, start, _UNROLLED, -1)
        for i in range(_UNROLLED):
            minimum = jnp.minimum(minimum, chunk[..., i, None] + (positions - (start + i)) ** 2)
        return minimum

    return jax.lax.fori_loop(0, iterations, compare, squares)


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
