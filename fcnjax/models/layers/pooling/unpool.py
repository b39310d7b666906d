"""Max unpooling."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.convolution.space_to_depth import (
    depth_to_space,
    first_argmax,
    space_to_depth,
)
from fcnjax.models.layers.feature_map import FeatureMap, fill_outside, max_dim, zero_outside


def unpool_like(x: FeatureMap, before: FeatureMap) -> FeatureMap:
    """Invert a 2x2 max pooling: put each value where its window's maximum was, among zeros.

    As torch's `max_unpool2d` with the indices of `max_pool2d`. The indices are computed again from
    `before`, so that an encoder need not return them, and nothing is gathered or scattered. The
    gradient of a value comes from where it was put; `before` has none.

    Args:
        x: Values `[B, h, w, C]`, one for each window. The last window may be partly filled.
        before: The input of the pooling, `[B, H, W, C]`. Of equal values in a window the first
            counts, in row-major order. An odd last row or column that the pooling dropped is zero.

    Returns:
        `[B, H, W, C]`, of the size and extent of `before`.
    """
    values = zero_outside(x)
    windows = lax.stop_gradient(fill_outside(before, -jnp.inf))
    for axis in (1, 2):
        windows = _pad_or_crop(windows, axis, 2 * x.size[axis - 1], -jnp.inf)
    pixels = space_to_depth(windows, 2)
    maximum = functools.reduce(jnp.maximum, pixels)
    unpooled = [jnp.where(is_first, values, 0) for is_first in first_argmax(pixels, maximum)]
    data = depth_to_space(unpooled, 2)
    for axis in (1, 2):
        data = _pad_or_crop(data, axis, before.size[axis - 1], 0)
    return FeatureMap(data, before.extent)


def _pad_or_crop(data: jax.Array, axis: int, size: int, fill: float) -> jax.Array:
    """Pad or crop the end of an axis to `size`."""
    pads = [(0, max_dim(size - data.shape[i], 0) if i == axis else 0, 0) for i in range(4)]
    data = lax.pad(data, jnp.asarray(fill, data.dtype), pads)
    return lax.slice_in_dim(data, 0, size, axis=axis)
