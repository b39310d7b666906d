"""Learned grids, such as position embeddings, interpolated to the grid of each example."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap

# Keys' constant of the cubic filter, as torch has it. (Pillow has -0.5.)
_CUBIC = -0.75


def axis_sizes(x: FeatureMap, axis: int) -> jax.Array:
    """Return the true height (axis 1) or width (2) of each example, int32 `[B]`.

    `[1]` without an extent, where all examples have that of the array.
    """
    if x.extent is not None:
        return x.extent[:, axis - 1]
    return jnp.asarray(x.size[axis - 1], jnp.int32)[None]


def linear_weights(index: jax.Array, size: int, new_size: jax.Array) -> jax.Array:
    """Return weights `[..., size]` of linear interpolation, as torch with align_corners=False.

    Args:
        index: int32, positions among the new values; those outside are clamped.
        size: Number of the old values.
        new_size: Number of the new values, broadcast with `index`.
    """
    # Integers, so that no rounding moves a position to another pair of values.
    position = jnp.clip((2 * index + 1) * size - new_size, 0, 2 * new_size * (size - 1))
    low = position // (2 * new_size)
    fraction = _fraction(position, new_size)
    high = jnp.minimum(low + 1, size - 1)
    return _one_hot(low, size) * (1 - fraction) + _one_hot(high, size) * fraction


def cubic_weights(index: jax.Array, size: int, new_size: jax.Array) -> jax.Array:
    """Return weights `[..., size]` of torch's bicubic interpolation; as `linear_weights`."""
    position = (2 * index + 1) * size - new_size
    low = position // (2 * new_size)
    fraction = _fraction(position, new_size)
    weights = jnp.zeros(())
    for tap in (-1, 0, 1, 2):
        factor = _cubic(jnp.abs(fraction - tap))
        weights = weights + factor * _one_hot(jnp.clip(low + tap, 0, size - 1), size)
    return weights


WEIGHTS: Mapping[str, Callable[[jax.Array, int, jax.Array], jax.Array]] = {
    "bilinear": linear_weights,
    "bicubic": cubic_weights,
}


def resize_grid(grid: jax.Array, like: FeatureMap, rule: str) -> jax.Array:
    """Interpolate a learned grid to the size of each example, without smoothing.

    Args:
        grid: float32 `[rows, columns, C]`.
        like: A map of the new size and extent.
        rule: A name in `WEIGHTS`.

    Returns:
        float32 `[B, H, W, C]`, or `[1, H, W, C]` where `like` has no extent.
    """
    rows, columns = (
        WEIGHTS[rule](
            jnp.arange(like.size[axis])[None], grid.shape[axis], axis_sizes(like, axis + 1)[:, None]
        )
        for axis in (0, 1)
    )
    return multiply_grid(rows, columns, grid)


def multiply_grid(rows: jax.Array, columns: jax.Array, grid: jax.Array) -> jax.Array:
    """Return `[B, H, W, C]`: a grid `[h, w, C]` times weights `[B, H, h]` and `[B, W, w]`.

    A product, since its gradient is bitwise reproducible, unlike a gather's.
    """
    options = {"precision": lax.Precision.HIGHEST}
    mixed = jnp.einsum("bhi,ijc->bhjc", rows, grid, **options)
    return jnp.einsum("bwj,bhjc->bhwc", columns, mixed, **options)


def _fraction(position: jax.Array, new_size: jax.Array) -> jax.Array:
    """Return the way from the lower to the higher old value, float32 `[..., 1]`."""
    span = 2 * new_size
    return ((position % span).astype(jnp.float32) / span.astype(jnp.float32))[..., None]


def _cubic(distance: jax.Array) -> jax.Array:
    inner = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance * distance + 1
    outer = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
    return jnp.where(distance <= 1, inner, outer)


def _one_hot(index: jax.Array, size: int) -> jax.Array:
    return (index[..., None] == jnp.arange(size)).astype(jnp.float32)
