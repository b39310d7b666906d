"""Padding of strided convolutions as TensorFlow's `SAME`, which depends on the size of the map."""

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap, max_dim, zero_outside


def pad_like_tensorflow(x: FeatureMap, kernel: int, stride: int) -> FeatureMap:
    """Add the zeros that TensorFlow's `SAME` adds around each example.

    A convolution without padding then returns `ceil(size / stride)` rows and columns. Of an odd
    number of zeros, the lower and right edges get one more.

    Args:
        x: `[B, H, W, C]`.
        kernel: Side of the kernel.
        stride: Stride.
    """

    def total(size):  # of the types that `max_dim` takes
        return max_dim(((size - 1) // stride) * stride + kernel - size, 0)

    if x.extent is None:
        pads = [(total(side) // 2, -(-total(side) // 2)) for side in x.size]
        edges = [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)]
        return x.replace(data=lax.pad(x.data, jnp.zeros((), x.data.dtype), edges))
    zeros = total(x.extent)
    data = zero_outside(x)
    for axis in (1, 2):
        data = _shift(data, zeros[:, axis - 1] // 2, kernel - 1, axis)
    return x.replace(data=data, extent=x.extent + zeros)


def _shift(data: jax.Array, before: jax.Array, more: int, axis: int) -> jax.Array:
    """Lengthen an axis by `more` zeros, of which `before [B]` precede each example."""
    shifted = None
    for count in range(more // 2 + 1):
        edges = [(count, more - count, 0) if i == axis else (0, 0, 0) for i in range(data.ndim)]
        moved = lax.pad(data, jnp.zeros((), data.dtype), edges)
        is_chosen = (before == count)[:, None, None, None]
        shifted = moved if shifted is None else jnp.where(is_chosen, moved, shifted)
    return shifted
