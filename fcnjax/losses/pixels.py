"""Parts that the losses share: probabilities, counted pixels, their weights, and targets."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcnjax.metrics.valid_mask import valid_mask

_ACTIVATIONS = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}
HEADS = tuple(_ACTIVATIONS)


class LossOptions(NamedTuple):
    """Arguments of every loss.

    Attributes:
        ignore_label: Label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: A weight for each class (2 for K = 1), applied to pixels by their label;
            None (or empty) for equal ones.
        head: `softmax` or `sigmoid`.
    """

    ignore_label: int
    valid: jax.Array | None = None
    class_weights: tuple[float, ...] | None = None
    head: str = "softmax"


def mask_logits(
    logits: jax.Array, labels: jax.Array, options: LossOptions
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return logits that are 0 at pixels that do not count, int32 labels, and the valid mask."""
    labels = labels.astype(jnp.int32)  # a uint8 label cannot be compared with an ignore_label of -1
    num_classes = max(logits.shape[-1], 2)  # a single channel is that of class 1
    mask = valid_mask(labels, num_classes, options.ignore_label, options.valid)
    # Multiplication by 0 would keep a nan.
    return jnp.where(mask[..., None], logits, 0), labels, mask


def activate(logits: jax.Array, head: str) -> jax.Array:
    """Return the softmax or sigmoid of logits, float32 [B, H, W, K]."""
    return _ACTIVATIONS[head](logits.astype(jnp.float32))


def class_weighted(
    labels: jax.Array, mask: jax.Array, class_weights: tuple[float, ...] | None
) -> jax.Array:
    """Return the class weight of each pixel in the mask, float32 [B, H, W]; 1 without weights."""
    weights = mask.astype(jnp.float32)
    if class_weights:
        table = jnp.asarray(class_weights, jnp.float32)
        weights *= jnp.sum(one_hot(labels, len(class_weights)) * table, -1)
    return weights


def pixel_weights(
    labels: jax.Array,
    mask: jax.Array,
    class_weights: tuple[float, ...] | None,
    extra: jax.Array | None = None,
) -> jax.Array:
    """Return the weight of each pixel, float32 [B, H, W]; they sum to 1, or 0 if none counts.

    Args:
        labels: Int32 [B, H, W].
        mask: Bool [B, H, W], the pixels that count.
        class_weights: A weight for each class, or None (or empty) for 1 each.
        extra: Float32 [B, H, W], added to the class weight of each pixel.
    """
    weights = class_weighted(labels, mask, class_weights)
    if extra is not None:
        weights += jnp.where(mask, extra, 0)
    total = weights.sum()
    return weights / jnp.where(total > 0, total, 1)


def one_hot(labels: jax.Array, num_classes: int) -> jax.Array:
    """Return bool [B, H, W, num_classes], by a comparison that XLA fuses, not by a gather."""
    return labels[..., None] == jnp.arange(num_classes, dtype=labels.dtype)


def target_masks(labels: jax.Array, channels: int) -> jax.Array:
    """Return the target of each channel, bool [B, H, W, channels]; of a single one, label 1."""
    return (labels == 1)[..., None] if channels == 1 else one_hot(labels, channels)


def probabilities(logits: jax.Array, head: str) -> jax.Array:
    """Return class probabilities, float32 in 0..1.

    Args:
        logits: Float [B, H, W, K].
        head: `softmax` or `sigmoid`. With `sigmoid`, K = 1 gives two classes [1 - p, p], and K > 1
            gives independent probabilities, which do not sum to 1.

    Returns:
        Float32 [B, H, W, num_classes].
    """
    logits = logits.astype(jnp.float32)
    if head == "softmax":
        return jax.nn.softmax(logits)
    if logits.shape[-1] > 1:
        return jax.nn.sigmoid(logits)
    return jax.nn.sigmoid(jnp.concatenate([-logits, logits], -1))


def predicted_classes(logits: jax.Array, head: str) -> jax.Array:
    """Return the most probable class, int32 [B, H, W], without computing probabilities.

    Args:
        logits: Float [B, H, W, K].
        head: As in `probabilities`.
    """
    if head == "sigmoid" and logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, -1).astype(jnp.int32)
