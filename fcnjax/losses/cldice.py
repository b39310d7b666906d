"""Centreline Dice: whether thin structures hang together."""

import jax
import jax.numpy as jnp

from fcnjax.losses.regions import OVER, SMOOTH, mean_where, soft_masks


def cldice(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore_label: int,
    valid: jax.Array | None = None,
    class_weights: tuple[float, ...] | None = None,
    head: str = "softmax",
    iterations: int = 10,
) -> jax.Array:
    """Soft centreline Dice of Shit et al. (clDice, 2021), the mean over classes, in 0..1.

    1 less the harmonic mean of the part of the predicted centreline that lies in the label, and the
    part of the label's centreline that is predicted. Sums run over the batch; class 0 has no
    centreline worth one, and is left out where there are others. So is a class without labels. It
    says nothing of how thick a structure is: add `dice`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `ignore_label`.
        ignore_label: The label of pixels that do not count.
        valid: Bool [B], false for examples that do not count; None counts all.
        class_weights: Taken so that all losses are called alike; classes weigh alike.
        head: `softmax` or `sigmoid`: how logits become probabilities.
        iterations: How often a structure is thinned: half its greatest width in pixels, or more.

    Returns:
        A float32 scalar.
    """
    del class_weights
    predicted, target = soft_masks(logits, labels, ignore_label, valid, head)
    if logits.shape[-1] > 1:
        predicted, target = predicted[..., 1:], target[..., 1:]
    target = target.astype(jnp.float32)
    lines, true_lines = soft_skeleton(predicted, iterations), soft_skeleton(target, iterations)
    precision = (jnp.sum(lines * target, OVER) + SMOOTH) / (jnp.sum(lines, OVER) + SMOOTH)
    found = jnp.sum(true_lines * predicted, OVER) + SMOOTH
    sensitivity = found / (jnp.sum(true_lines, OVER) + SMOOTH)
    scores = 2 * precision * sensitivity / (precision + sensitivity)
    return mean_where(target.any(OVER), 1 - scores)


def soft_skeleton(mask: jax.Array, iterations: int) -> jax.Array:
    """The soft centrelines of masks in 0..1, float [B, H, W, K], by the paper's algorithm 1."""

    def thinned(state: tuple[jax.Array, jax.Array], _: None) -> tuple:
        mask, skeleton = state
        mask = _eroded(mask)
        more = jax.nn.relu(mask - _opened(mask))
        return (mask, skeleton + jax.nn.relu(more - skeleton * more)), None

    # A loop, since all iterations in one program compile for minutes.
    start = (mask, jax.nn.relu(mask - _opened(mask)))
    return jax.lax.scan(thinned, start, length=iterations)[0][1]


def _eroded(mask: jax.Array) -> jax.Array:
    """The least of each pixel and its four neighbours."""
    return -jnp.maximum(_greatest(-mask, 1), _greatest(-mask, 2))


def _opened(mask: jax.Array) -> jax.Array:
    """Eroded, then the greatest of each 3 x 3 pixels."""
    return _greatest(_greatest(_eroded(mask), 1), 2)


def _greatest(values: jax.Array, axis: int) -> jax.Array:
    """The greatest of each value and its two neighbours along an axis.

    By shifts: where devices divide the height, XLA gets the gradient of a pooling wrong.
    """
    length = values.shape[axis]
    padded = jnp.pad(values, [(int(i == axis),) * 2 for i in range(values.ndim)], mode="edge")
    before, own, after = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(3))
    return jnp.maximum(jnp.maximum(before, after), own)
