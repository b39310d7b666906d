"""The way back through a max pooling."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.convolution.space_to_depth import first_argmax, interleave, space_to_depth
from fcnjax.models.layers.feature_map import FeatureMap, at_least, fill_outside, zero_outside


def unpool_like(x: FeatureMap, before: FeatureMap) -> FeatureMap:
    """Undoes a 2x2 max pooling: each value goes where its window's maximum was, among zeros.

    As torch's `max_unpool2d` with the indices of `max_pool2d`. The winners are found again by
    looking at `before`, so that an encoder need not hand its indices on; nothing is gathered or
    scattered. The gradient of a value comes back from where it went; `before` has none.

    Args:
        x: Values `[B, h, w, C]`, one for each window. The last window may be partly filled.
        before: What was pooled, `[B, H, W, C]`. Of equal values in a window the first one wins, by
            rows. An odd last row or column that the pooling left out stays zero.

    Returns:
        `[B, H, W, C]`, of the size and extent of `before`.
    """
    values = zero_outside(x)
    windows = lax.stop_gradient(fill_outside(before, -jnp.inf))
    for axis in (1, 2):
        windows = _fitted(windows, axis, 2 * x.size[axis - 1], -jnp.inf)
    corners = space_to_depth(windows, 2)
    greatest = functools.reduce(jnp.maximum, corners)
    placed = [jnp.where(wins, values, 0) for wins in first_argmax(corners, greatest)]
    data = interleave(placed, 2)
    for axis in (1, 2):
        data = _fitted(data, axis, before.size[axis - 1], 0)
    return FeatureMap(data, before.extent)


def _fitted(data: jax.Array, axis: int, size: int, fill: float) -> jax.Array:
    """Cuts the end of an axis to `size`, or fills it up."""
    pads = [(0, at_least(size - data.shape[i], 0) if i == axis else 0, 0) for i in range(4)]
    data = lax.pad(data, jnp.asarray(fill, data.dtype), pads)
    return lax.slice_in_dim(data, 0, size, axis=axis)
