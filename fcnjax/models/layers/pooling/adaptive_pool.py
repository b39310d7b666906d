"""Adaptive average pooling."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap, zero_outside


def adaptive_mean(x: FeatureMap, bins: int) -> FeatureMap:
    """Return the mean of each cell of a `bins` by `bins` grid, as torch's `adaptive_avg_pool2d`.

    Cell i spans from `floor(i * size / bins)` to `ceil((i + 1) * size / bins)`. Neighbours may
    overlap, so an input of any size, even smaller than the grid, fills every cell. The grid covers
    each example's extent.

    Returns:
        `[B, bins, bins, C]`, all of it valid.
    """
    data = zero_outside(x).astype(jnp.float32)
    batch, height, width, channels = data.shape
    rows, columns = (_weights(x, axis, bins) for axis in (0, 1))
    data = jnp.matmul(rows, data.reshape(batch, height, -1), precision=lax.Precision.HIGHEST)
    data = data.reshape(batch, bins, width, channels)
    data = jnp.matmul(columns[:, None], data, precision=lax.Precision.HIGHEST)
    extent = None if x.extent is None else jnp.full_like(x.extent, bins)
    return FeatureMap(data.astype(x.data.dtype), extent)


def _weights(x: FeatureMap, axis: int, bins: int) -> jax.Array:
    """Return `[B or 1, bins, size]`: the weight of each row (or column) in each cell's mean."""
    xp = np if x.extent is None else jnp
    size = np.asarray([x.size[axis]]) if x.extent is None else x.extent[:, axis]
    size, cell = size[:, None, None], np.arange(bins)[:, None]
    start, stop = cell * size // bins, -(-(cell + 1) * size // bins)
    position = xp.arange(x.size[axis])
    return jnp.asarray((position >= start) & (position < stop), jnp.float32) / (stop - start)
