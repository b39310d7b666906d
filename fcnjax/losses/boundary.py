"""Boundary loss: how far what is wrong lies from where it should end."""

import jax
import jax.numpy as jnp

from fcnjax.losses.distance import distance_to
from fcnjax.losses.pixels import counted_only, masks, pixel_weights


def boundary(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
) -> jax.Array:
    """Boundary loss of Kervadec et al. (2019), in pixels (>= 0).

    The mean over counted pixels and classes of `phi * (p - y)`, where phi is the signed distance to
    the class's region of the image: outside, the distance to its nearest pixel; inside, less the
    distance to the nearest pixel of another class, plus 1 (the paper's code). The paper leaves the
    constant `phi * y` out; with it, what is right is 0. A class that fills an image or is absent
    there adds nothing, so that this loss goes beside another, as Dice.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: A weight for each class (2 for K = 1), by which a pixel weighs by its label,
            or None (or empty) for equal ones.
        head: `softmax` or `sigmoid`: how logits become probabilities.

    Returns:
        A float32 scalar.
    """
    channels = logits.shape[-1]
    logits, labels, counted = counted_only(logits, labels, max(channels, 2), ignore_label, valid)
    weights = pixel_weights(labels, counted, class_weights)
    target = masks(labels, channels)
    activation = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[head]
    wrong = activation(logits.astype(jnp.float32)) - target
    phi = jax.vmap(_phi, (-1, None), -1)(target, counted)
    return jnp.sum((phi * wrong).mean(-1) * weights)


def _phi(region: jax.Array, counted: jax.Array) -> jax.Array:
    """The signed distance to a region, float32 [B, H, W], 0 or less inside."""
    outside, inside = distance_to(region & counted), distance_to(~region & counted)
    phi = jnp.where(region, 1 - inside, outside)
    # Of an image without a border there is no distance to it.
    has_border = jnp.isfinite(outside) & jnp.isfinite(inside)
    return jnp.where(has_border & counted, phi, 0)
