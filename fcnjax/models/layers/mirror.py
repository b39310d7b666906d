"""Reflection padding, and cropping, for convolutions without zero padding."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap


def mirror_pad(
    x: FeatureMap, before: int, size: tuple[int, int], extent: jax.Array | None
) -> FeatureMap:
    """Pad each example by reflection at the edges of its extent.

    The edge pixels are not repeated, as in `numpy.pad` with `reflect`. Where the padding is larger
    than the example, it is reflected back and forth; a single pixel is repeated.

    Args:
        x: Input `[B, H, W, C]`.
        before: Rows and columns added at the upper and left edges.
        size: Height and width of the result; the rest is added at the lower and right edges.
        extent: int32 `[B, 2]`, the extent of the result; None if `x` has none.
    """
    data = x.data
    for axis, out in zip((1, 2), size, strict=True):
        if x.extent is None:
            is_static = isinstance(data.shape[axis], int)
            index = _source_index(out, before, data.shape[axis], np if is_static else jnp)
            data = jnp.take(data, index, axis=axis, mode="clip")
        else:
            index = _source_index(out, before, x.extent[:, axis - 1, None], jnp)
            shape = [-1 if i in (0, axis) else 1 for i in range(4)]
            shape[0] = index.shape[0]
            data = jnp.take_along_axis(data, index.reshape(shape), axis=axis, mode="clip")
    return FeatureMap(data, extent)


def _source_index(out: int, before: int, size, xp):
    """Return the reflected source index, below `size`, of each of the `out` new indices."""
    period = xp.maximum(2 * (size - 1), 1)
    index = (xp.arange(out) - before) % period
    return xp.minimum(index, period - index)


def crop_edges(x: FeatureMap, pixels: int) -> FeatureMap:
    """Crop `pixels` rows and columns from each edge of the array and of each example's extent."""
    data = x.data
    for axis in (1, 2):
        data = lax.slice_in_dim(data, pixels, data.shape[axis] - pixels, axis=axis)
    return FeatureMap(data, None if x.extent is None else x.extent - 2 * pixels)
