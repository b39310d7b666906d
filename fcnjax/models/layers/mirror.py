"""Context from beyond the edges, and its removal: for convolutions that are not padded."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap


def mirror_pad(
    x: FeatureMap, before: int, size: tuple[int, int], extent: jax.Array | None
) -> FeatureMap:
    """Extends each example by its own reflection at the edges of its extent.

    The edge pixels are not repeated, as in `numpy.pad` with `reflect`. Where the example is smaller
    than what is missing it is reflected to and fro; a single pixel is repeated.

    Args:
        x: Input `[B, H, W, C]`.
        before: Rows and columns added at the upper and the left edge.
        size: Height and width of the result; what follows is added at the lower and right edges.
        extent: int32 `[B, 2]`, of the result, or None as in `x`.
    """
    data = x.data
    for axis, out in zip((1, 2), size, strict=True):
        if x.extent is None:
            data = jnp.take(data, _reflected(out, before, data.shape[axis], np), axis=axis)
        else:
            index = _reflected(out, before, x.extent[:, axis - 1, None], jnp)
            shape = [-1 if i in (0, axis) else 1 for i in range(4)]
            shape[0] = index.shape[0]
            data = jnp.take_along_axis(data, index.reshape(shape), axis=axis, mode="clip")
    return FeatureMap(data, extent)


def _reflected(out: int, before: int, size, xp):
    """For each of the `out` new indices: the old one, among `size`."""
    period = xp.maximum(2 * (size - 1), 1)
    index = (xp.arange(out) - before) % period
    return xp.minimum(index, period - index)


def crop_edges(x: FeatureMap, pixels: int) -> FeatureMap:
    """Cuts `pixels` rows and columns off each edge, of the array and of each example's extent."""
    data = x.data
    for axis in (1, 2):
        data = lax.slice_in_dim(data, pixels, data.shape[axis] - pixels, axis=axis)
    return FeatureMap(data, None if x.extent is None else x.extent - 2 * pixels)
