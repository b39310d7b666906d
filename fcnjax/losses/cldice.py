"""Centreline Dice, a loss for the connectivity of thin structures."""

import jax
import jax.numpy as jnp

from fcnjax.losses.pixels import LossOptions
from fcnjax.losses.regions import SMOOTH, SUMMED_AXES, mean_where, soft_masks


def cldice(
    logits: jax.Array, labels: jax.Array, options: LossOptions, *, iterations: int = 10
) -> jax.Array:
    """Soft centreline Dice of Shit et al. (clDice, 2021), the mean over classes, in 0..1.

    1 minus the harmonic mean of two shares: of the predicted centreline that lies in the label, and
    of the label's centreline that is predicted. Sums run over the batch. Class 0, the background,
    is left out if there are others, and so are classes without labels. The loss does not measure
    the thickness of structures: combine it with `dice`.

    Args:
        logits: Float [B, H, W, K].
        labels: Integer [B, H, W], in 0..K-1 (0..1 for K = 1) or `options.ignore_label`.
        options: Valid pixels, and the head. Class weights are ignored.
        iterations: Number of thinning steps: half the largest width of a structure in pixels, or
            more.

    Returns:
        A float32 scalar.
    """
    predicted, target = soft_masks(logits, labels, options)
    if logits.shape[-1] > 1:
        predicted, target = predicted[..., 1:], target[..., 1:]
    target = target.astype(jnp.float32)
    lines, true_lines = soft_skeleton(predicted, iterations), soft_skeleton(target, iterations)
    precision = (jnp.sum(lines * target, SUMMED_AXES) + SMOOTH) / (
        jnp.sum(lines, SUMMED_AXES) + SMOOTH
    )
    covered = jnp.sum(true_lines * predicted, SUMMED_AXES) + SMOOTH
    sensitivity = covered / (jnp.sum(true_lines, SUMMED_AXES) + SMOOTH)
    scores = 2 * precision * sensitivity / (precision + sensitivity)
    return mean_where(target.any(SUMMED_AXES), 1 - scores)


def soft_skeleton(mask: jax.Array, iterations: int) -> jax.Array:
    """Return the soft centrelines of masks in 0..1, float [B, H, W, K] (algorithm 1 of clDice)."""

    def thin(state: tuple[jax.Array, jax.Array], _: None) -> tuple:
        mask, skeleton = state
        mask = _erode(mask)
        lines = jax.nn.relu(mask - _open(mask))
        return (mask, skeleton + jax.nn.relu(lines - skeleton * lines)), None

    # A loop, since the unrolled iterations would take minutes to compile.
    start = (mask, jax.nn.relu(mask - _open(mask)))
    return jax.lax.scan(thin, start, length=iterations)[0][1]


def _erode(mask: jax.Array) -> jax.Array:
    """Return the minimum of each pixel and its four neighbours."""
    return -jnp.maximum(_max_of_three(-mask, 1), _max_of_three(-mask, 2))


def _open(mask: jax.Array) -> jax.Array:
    """Erode, and take the maximum of each 3 x 3 pixels."""
    return _max_of_three(_max_of_three(_erode(mask), 1), 2)


def _max_of_three(values: jax.Array, axis: int) -> jax.Array:
    """Return the maximum of each value and its two neighbours along an axis.

    It is computed by shifts, since XLA gets the gradient of a pooling wrong where devices divide
    the height.
    """
    length = values.shape[axis]
    padded = jnp.pad(values, [(int(i == axis),) * 2 for i in range(values.ndim)], mode="edge")
    before, middle, after = (
        jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(3)
    )
    return jnp.maximum(jnp.maximum(before, after), middle)
