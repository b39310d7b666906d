"""Cross-entropies: of a softmax, of its hardest pixels, and of sigmoids."""

import jax
import jax.numpy as jnp

from fcnjax.losses.borders import border_map
from fcnjax.losses.pixels import counted_only, masks, one_hot, pixel_weights


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
    label_smoothing: float = 0.0,
    border_weight: float = 0.0,
    border_sigma: float = 5.0,
) -> jax.Array:
    """Softmax cross-entropy, the mean over counted pixels, in nats (>= 0).

    With class weights and smoothing it is the weighted mean of torch's `CrossEntropyLoss`: the sum
    of `weight[label] * loss`, divided by the sum of `weight[label]`. With a border weight, that of
    Ronneberger et al., U-Net (2015), is added to each pixel's weight: see `border_map`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: K weights, or None (or empty) for equal ones.
        head: Taken so that all losses are called alike; it changes nothing.
        label_smoothing: The part of each target that is spread evenly over all classes, in 0..1
            (Szegedy et al., Rethinking the Inception Architecture, 2016).
        border_weight: U-Net's w0: what a pixel between two touching objects weighs more; 0 for
            none.
        border_sigma: U-Net's sigma, pixels.

    Returns:
        A float32 scalar.
    """
    del head
    logits, labels, counted = counted_only(logits, labels, logits.shape[-1], ignore_label, valid)
    extra = None
    if border_weight:
        extra = border_map(jnp.where(counted, labels, 0), border_weight, border_sigma)
    weights = pixel_weights(labels, counted, class_weights, extra)
    value = _weighted_nll(logits, labels, weights)
    if label_smoothing:
        even = _even_nll(logits, labels, weights, class_weights)
        value = (1 - label_smoothing) * value + label_smoothing * even
    return value


@jax.custom_vjp
def _weighted_nll(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum of `weights * -log_softmax(logits)[labels]`; the gradient goes to the logits alone."""
    return jnp.sum(_pixel_nll(logits, labels) * weights)


def _pixel_nll(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """`-log_softmax(logits)[labels]`, float32 [B, H, W]."""
    # Shifted by the maximum before the difference: at logits of 1e4 `logsumexp - logit` would
    # lose four digits.
    shifted = logits.astype(jnp.float32)
    shifted -= shifted.max(-1, keepdims=True)
    own = jnp.sum(jnp.where(one_hot(labels, logits.shape[-1]), shifted, 0), -1)
    return jnp.log(jnp.exp(shifted).sum(-1)) - own


def _weighted_nll_forward(logits, labels, weights):
    # Only what came in is kept (bfloat16 where the model computes so); the softmax is cheaper to
    # compute again than to store in float32.
    return _weighted_nll(logits, labels, weights), (logits, labels, weights)


def _weighted_nll_backward(saved, cotangent):
    logits, labels, weights = saved
    slope = jax.nn.softmax(logits.astype(jnp.float32)) - one_hot(labels, logits.shape[-1])
    return (slope * (cotangent * weights)[..., None]).astype(logits.dtype), None, None


_weighted_nll.defvjp(_weighted_nll_forward, _weighted_nll_backward)


def _even_nll(
    logits: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    class_weights: tuple[float, ...] | None,
) -> jax.Array:
    """As `_weighted_nll`, of a target that is spread evenly: the mean over classes.

    As in torch, each class then has its own weight in place of the label's.
    """
    nll = -jax.nn.log_softmax(logits.astype(jnp.float32))
    if not class_weights:
        return jnp.sum(nll.mean(-1) * weights)
    table = jnp.asarray(class_weights, jnp.float32)
    own = jnp.sum(jnp.where(one_hot(labels, len(class_weights)), table, 0), -1)
    per_weight = weights / jnp.where(own > 0, own, 1)  # of one unit of a class's weight
    return jnp.sum((nll * table).mean(-1) * per_weight)


def ohem_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
    fraction: float = 0.25,
    threshold: float = 0.0,
) -> jax.Array:
    """Softmax cross-entropy of the hardest pixels of the batch alone, their (weighted) mean.

    Top-k of Wu et al., Bridging Category-level and Instance-level Semantic Image Segmentation
    (2016); online hard example mining of Shrivastava et al. (2016). The pixels at the k-th
    greatest loss share what is left of k among them, so that no order decides.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: K weights of the pixels that are kept, or None (or empty) for equal ones.
        head: Taken so that all losses are called alike; it changes nothing.
        fraction: The part of the counted pixels that is kept, above 0, to 1.
        threshold: Pixels whose own class has a probability below this are kept too, in 0..1.

    Returns:
        A float32 scalar, >= 0.
    """
    del head
    logits, labels, counted = counted_only(logits, labels, logits.shape[-1], ignore_label, valid)
    nll = jax.lax.stop_gradient(jnp.abs(_pixel_nll(logits, labels)))  # of -0.0 makes 0.0
    kept = _share_kept(nll, counted, fraction)
    if threshold:
        kept = jnp.where(counted & (nll > -jnp.log(threshold)), 1, kept)
    weights = pixel_weights(labels, counted, class_weights) * kept
    total = weights.sum()
    return _weighted_nll(logits, labels, weights / jnp.where(total > 0, total, 1))


def _share_kept(values: jax.Array, counted: jax.Array, fraction: float) -> jax.Array:
    """How much of each pixel is among the greatest of the counted: 1, 0, or a part at the border.

    Found by halving over the bits of the values (float32, >= 0, whose order is that of their bits):
    31 sums, in place of a sort of the batch, which would move it between devices.
    """
    bits = jnp.where(counted, jax.lax.bitcast_convert_type(values, jnp.int32), -1)
    wanted = fraction * counted.sum(dtype=jnp.float32)

    def halve(i: jax.Array, least: jax.Array) -> jax.Array:
        tried = least | (1 << (30 - i))
        return jnp.where(jnp.sum(bits >= tried, dtype=jnp.float32) >= wanted, tried, least)

    least = jax.lax.fori_loop(0, 31, halve, jnp.int32(0))
    at = jnp.sum(bits == least, dtype=jnp.float32)
    left = wanted - jnp.sum(bits > least, dtype=jnp.float32)
    part = jnp.where(at > 0, left / jnp.maximum(at, 1), 0)
    return jnp.where(bits > least, 1, jnp.where(bits == least, part, 0))


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "sigmoid",
) -> jax.Array:
    """Sigmoid cross-entropy against one-hot masks, in nats (>= 0).

    K = 1 is the binary case: the logit is that of the foreground, label 1. K > 1 is one against
    the rest for each class, averaged over the channels. Class weights weigh a pixel by its label,
    divided by their sum, as in `cross_entropy`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: A weight for each class (2 for K = 1), or None (or empty) for equal ones.
        head: Taken so that all losses are called alike; it changes nothing.

    Returns:
        A float32 scalar.
    """
    del head
    channels = logits.shape[-1]
    logits, labels, counted = counted_only(logits, labels, max(channels, 2), ignore_label, valid)
    weights = pixel_weights(labels, counted, class_weights)
    target = masks(labels, channels)
    logits = logits.astype(jnp.float32)
    losses = jax.nn.softplus(jnp.where(target, -logits, logits))
    return jnp.sum(losses.mean(-1) * weights)
