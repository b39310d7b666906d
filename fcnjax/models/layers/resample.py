"""Resizing as torch does it by other rules than the plain bilinear one of `resize.py`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap


def resize_nearest_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Resizes to the size and extent of `like`, as torch's `nearest`.

    New pixel i takes the old one at `floor(i * old / new)`, each example by its own extents.
    """
    return _resized(x, like, _nearest)


def resize_corners_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Resizes to the size and extent of `like`, bilinearly, as torch with align_corners=True.

    The centres of the corner pixels of an example stay where they are; shrinking does not smooth.
    """
    return _resized(x, like, _corners)


def _nearest(index, size, out, xp):
    """For each new index: the old one, twice, and no way between."""
    low = xp.clip(index, 0, out - 1) * size // out
    return low, low, xp.zeros(index.shape, np.float32)


def _corners(index, size, out, xp):
    """For each new index: the two old ones that it lies between, and how far along (float32).

    Whole-number arithmetic, so that the static and the per-example path agree.
    """
    span = xp.maximum(out - 1, 1)
    position = xp.clip(index, 0, out - 1) * (size - 1)
    low = position // span
    fraction = (position % span).astype(np.float32) / xp.asarray(span, np.float32)
    return low, xp.minimum(low + 1, size - 1), fraction


def _resized(x: FeatureMap, like: FeatureMap, coordinates) -> FeatureMap:
    data = x.data
    for axis in (1, 2):
        size, out = data.shape[axis], like.size[axis - 1]
        if x.extent is not None:
            gather = functools.partial(_gather, coordinates, out=out, axis=axis - 1)
            data = jax.vmap(gather)(data, x.extent[:, axis - 1], like.extent[:, axis - 1])
        elif out == size:
            pass
        elif coordinates is _nearest and out in (2 * size - 1, 2 * size):
            # Doubled, less the pixel that the rounding of a stride took.
            data = lax.slice_in_dim(jnp.repeat(data, 2, axis), 0, out, axis=axis)
        else:
            data = _matrix(coordinates, data, out, axis)
    return FeatureMap(data, like.extent)


def _matrix(coordinates, data: jax.Array, out: int, axis: int) -> jax.Array:
    """Resizes by a matrix product, whose gradient repeats bitwise (a gather's need not)."""
    size = data.shape[axis]
    low, high, fraction = coordinates(np.arange(out), size, out, np)
    matrix = np.zeros((out, size), np.float32)
    np.add.at(matrix, (np.arange(out), low), 1 - fraction)
    np.add.at(matrix, (np.arange(out), high), fraction)
    equation = "oi,biwc->bowc" if axis == 1 else "oi,bhic->bhoc"
    return jnp.einsum(
        equation, jnp.asarray(matrix, data.dtype), data, precision=lax.Precision.HIGHEST
    )


def _gather(
    coordinates, data: jax.Array, size: jax.Array, wanted: jax.Array, *, out: int, axis: int
) -> jax.Array:
    """Resizes the first `size` rows (or columns) of one example `[H, W, C]` to `wanted` ones."""
    low, high, fraction = coordinates(jnp.arange(out), size, wanted, jnp)
    shape = [1] * data.ndim
    shape[axis] = out
    fraction = fraction.reshape(shape)
    low, high = (jnp.take(data, index, axis=axis, mode="clip") for index in (low, high))
    return (low * (1 - fraction) + high * fraction).astype(data.dtype)
