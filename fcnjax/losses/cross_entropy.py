"""Cross-entropy losses: softmax, softmax of the hardest pixels, and sigmoid."""

import jax
import jax.numpy as jnp

from fcnjax.losses.borders import border_map
from fcnjax.losses.pixels import LossOptions, mask_logits, one_hot, pixel_weights, target_masks


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    options: LossOptions,
    *,
    label_smoothing: float = 0.0,
    border_weight: float = 0.0,
    border_sigma: float = 5.0,
) -> jax.Array:
    """Softmax cross-entropy, the mean over counted pixels, in nats (>= 0).

    With class weights and smoothing it is the weighted mean of torch's `CrossEntropyLoss`: the sum
    of `weight[label] * loss`, divided by the sum of `weight[label]`. `border_weight` adds the map
    of Ronneberger et al., U-Net (2015), to the weight of each pixel: see `border_map`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 or `options.ignore_label`.
        options: Valid pixels and their weights. The head is ignored.
        label_smoothing: Share of each target that is spread evenly over all classes, in 0..1
            (Szegedy et al., Rethinking the Inception Architecture, 2016).
        border_weight: U-Net's w0: extra weight of a pixel between two touching objects; 0 for none.
        border_sigma: U-Net's sigma, in pixels.

    Returns:
        A float32 scalar.
    """
    logits, labels, mask = mask_logits(logits, labels, options)
    extra = None
    if border_weight:
        extra = border_map(jnp.where(mask, labels, 0), border_weight, border_sigma)
    weights = pixel_weights(labels, mask, options.class_weights, extra)
    value = _weighted_nll(logits, labels, weights)
    if label_smoothing:
        uniform = _uniform_nll(logits, labels, weights, options.class_weights)
        value = (1 - label_smoothing) * value + label_smoothing * uniform
    return value


@jax.custom_vjp
def _weighted_nll(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Return the sum of `weights * -log_softmax(logits)[labels]`, differentiable in the logits."""
    return jnp.sum(_pixel_nll(logits, labels) * weights)


def _pixel_nll(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return `-log_softmax(logits)[labels]`, float32 [B, H, W]."""
    # The maximum is subtracted first: at logits of 1e4, `logsumexp - logit` would lose four digits.
    shifted = logits.astype(jnp.float32)
    shifted -= shifted.max(-1, keepdims=True)
    of_label = jnp.sum(jnp.where(one_hot(labels, logits.shape[-1]), shifted, 0), -1)
    return jnp.log(jnp.exp(shifted).sum(-1)) - of_label


def _weighted_nll_forward(logits, labels, weights):
    # Only the arguments are kept, in bfloat16 if the model computes so. The softmax is cheaper to
    # compute again than to store in float32.
    return _weighted_nll(logits, labels, weights), (logits, labels, weights)


def _weighted_nll_backward(saved, cotangent):
    logits, labels, weights = saved
    gradient = jax.nn.softmax(logits.astype(jnp.float32)) - one_hot(labels, logits.shape[-1])
    return (gradient * (cotangent * weights)[..., None]).astype(logits.dtype), None, None


_weighted_nll.defvjp(_weighted_nll_forward, _weighted_nll_backward)


def _uniform_nll(
    logits: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    class_weights: tuple[float, ...] | None,
) -> jax.Array:
    """Return `_weighted_nll` of a target that is uniform over the classes.

    As in torch, each class has its own weight then, not that of the label.
    """
    nll = -jax.nn.log_softmax(logits.astype(jnp.float32))
    if not class_weights:
        return jnp.sum(nll.mean(-1) * weights)
    table = jnp.asarray(class_weights, jnp.float32)
    of_label = jnp.sum(jnp.where(one_hot(labels, len(class_weights)), table, 0), -1)
    unit_weights = weights / jnp.where(of_label > 0, of_label, 1)  # without the label's weight
    return jnp.sum((nll * table).mean(-1) * unit_weights)


def ohem_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    options: LossOptions,
    *,
    fraction: float = 0.25,
    threshold: float = 0.0,
) -> jax.Array:
    """Softmax cross-entropy of only the hardest pixels of the batch, their (weighted) mean.

    Top-k of Wu et al., Bridging Category-level and Instance-level Semantic Image Segmentation
    (2016); online hard example mining of Shrivastava et al. (2016). Pixels that tie at the k-th
    largest loss share the remaining weight, so that the result does not depend on their order.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 or `options.ignore_label`.
        options: Valid pixels and their weights. The head is ignored.
        fraction: Share of the counted pixels that is kept, above 0, to 1.
        threshold: Pixels whose true class has a probability below this are kept too, in 0..1.

    Returns:
        A float32 scalar, >= 0.
    """
    logits, labels, mask = mask_logits(logits, labels, options)
    nll = jax.lax.stop_gradient(jnp.abs(_pixel_nll(logits, labels)))  # turns -0.0 into 0.0
    kept = _share_kept(nll, mask, fraction)
    if threshold:
        kept = jnp.where(mask & (nll > -jnp.log(threshold)), 1, kept)
    weights = pixel_weights(labels, mask, options.class_weights) * kept
    total = weights.sum()
    return _weighted_nll(logits, labels, weights / jnp.where(total > 0, total, 1))


def _share_kept(values: jax.Array, mask: jax.Array, fraction: float) -> jax.Array:
    """Return the share of each pixel that is kept: 1 above the threshold, 0 below, equal at it.

    The threshold is found by bisection over the bits of the values (non-negative float32, which
    are ordered like their bits). That takes 31 sums, not a sort, which would move the batch
    between devices.
    """
    bits = jnp.where(mask, jax.lax.bitcast_convert_type(values, jnp.int32), -1)
    count = fraction * mask.sum(dtype=jnp.float32)

    def bisect(i: jax.Array, threshold: jax.Array) -> jax.Array:
        candidate = threshold | (1 << (30 - i))
        enough = jnp.sum(bits >= candidate, dtype=jnp.float32) >= count
        return jnp.where(enough, candidate, threshold)

    threshold = jax.lax.fori_loop(0, 31, bisect, jnp.int32(0))
    num_equal = jnp.sum(bits == threshold, dtype=jnp.float32)
    remaining = count - jnp.sum(bits > threshold, dtype=jnp.float32)
    share = jnp.where(num_equal > 0, remaining / jnp.maximum(num_equal, 1), 0)
    return jnp.where(bits > threshold, 1, jnp.where(bits == threshold, share, 0))


def binary_cross_entropy(logits: jax.Array, labels: jax.Array, options: LossOptions) -> jax.Array:
    """Sigmoid cross-entropy against one-hot masks, in nats (>= 0).

    With K = 1 the logit is that of the foreground, label 1. With K > 1 each channel is one class
    against the rest, and the channels are averaged. Class weights are applied to pixels by their
    label and normalised as in `cross_entropy`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels and their weights. The head is ignored.

    Returns:
        A float32 scalar.
    """
    channels = logits.shape[-1]
    logits, labels, mask = mask_logits(logits, labels, options)
    weights = pixel_weights(labels, mask, options.class_weights)
    target = target_masks(labels, channels)
    logits = logits.astype(jnp.float32)
    losses = jax.nn.softplus(jnp.where(target, -logits, logits))
    return jnp.sum(losses.mean(-1) * weights)
