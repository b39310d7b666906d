"""What losses share: which pixels count, what each weighs, and what each should have been."""

import jax
import jax.numpy as jnp


def counted_only(
    logits: jax.Array,
    labels: jax.Array,
    num_classes: int,
    ignore_label: int,
    valid: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits that are 0 where nothing counts, int32 labels, and bool [B, H, W] of what counts."""
    labels = labels.astype(jnp.int32)  # a uint8 label cannot be compared with an ignore of -1
    counted = valid_mask(labels, num_classes, ignore_label, valid)
    # A product with 0 would let a NaN through.
    return jnp.where(counted[..., None], logits, 0), labels, counted


def valid_mask(
    labels: jax.Array, num_classes: int, ignore_label: int, valid: jax.Array | None
) -> jax.Array:
    """Bool [B, H, W]: which int32 labels are a class, not ignored, and of a valid example."""
    counted = (labels != ignore_label) & (labels >= 0) & (labels < num_classes)
    return counted if valid is None else counted & valid[:, None, None]


def class_weighted(
    labels: jax.Array, counted: jax.Array, class_weights: tuple[float, ...] | None
) -> jax.Array:
    """The weight of each counted pixel's class, float32 [B, H, W]; 1 without weights."""
    weights = counted.astype(jnp.float32)
    if class_weights:
        table = jnp.asarray(class_weights, jnp.float32)
        weights *= jnp.sum(one_hot(labels, len(class_weights)) * table, -1)
    return weights


def pixel_weights(
    labels: jax.Array,
    counted: jax.Array,
    class_weights: tuple[float, ...] | None,
    extra: jax.Array | None = None,
) -> jax.Array:
    """What each pixel weighs, float32 [B, H, W]; they sum to 1, or to 0 where nothing counts.

    Args:
        labels: Int32 [B, H, W].
        counted: Bool [B, H, W].
        class_weights: A weight for each class, or None (or empty) for 1 each.
        extra: Float32 [B, H, W], added to the weight of each pixel's class.
    """
    weights = class_weighted(labels, counted, class_weights)
    if extra is not None:
        weights += jnp.where(counted, extra, 0)
    total = weights.sum()
    return weights / jnp.where(total > 0, total, 1)


def one_hot(labels: jax.Array, num_classes: int) -> jax.Array:
    """Bool [B, H, W, num_classes]. Compared, not gathered: XLA fuses this into what uses it."""
    return labels[..., None] == jnp.arange(num_classes, dtype=labels.dtype)


def masks(labels: jax.Array, channels: int) -> jax.Array:
    """Bool [B, H, W, channels], what a head of so many channels should say; of one: label 1."""
    return (labels == 1)[..., None] if channels == 1 else one_hot(labels, channels)
