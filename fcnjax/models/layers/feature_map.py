"""The input and output of all layers: an array, and the valid region of each example in it."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax


@struct.dataclass
class FeatureMap:
    """A batch of feature maps.

    Attributes:
        data: `[B, H, W, C]`.
        extent: int32 `[B, 2]`, the height and width of each example's valid region, which lies in
            the upper left corner of `data`; values outside it are meaningless. None: all of `data`
            is valid, and no masking is emitted.
        batch_factor: The factor of `space_to_batch`. It is 1 except in dilated stages in training,
            where only convolutions depend on it.
    """

    data: jax.Array
    extent: jax.Array | None = None
    batch_factor: int = struct.field(pytree_node=False, default=1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the array."""
        return self.data.shape[1:3]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.data.shape[-1]


def max_dim(size, least: int):
    """Return the maximum of `least` and a size: a number, a symbolic dimension, or an array."""
    if isinstance(size, jax.Array | np.ndarray):
        return jnp.maximum(size, least)
    return jax.core.max_dim(size, least)


def full_extent(x: FeatureMap) -> jax.Array:
    """Return the extent int32 `[B, 2]`; that of the whole array where there is none."""
    if x.extent is not None:
        return x.extent
    sides = jnp.stack([jnp.asarray(side, jnp.int32) for side in x.size])
    return jnp.broadcast_to(sides, (x.data.shape[0], 2))


def extent_mask(x: FeatureMap) -> jax.Array:
    """Return bool `[B, H, W, 1]`, true within the extent, which must not be None."""
    rows, columns = (lax.broadcasted_iota(jnp.int32, (1, *x.size, 1), axis) for axis in (1, 2))
    height, width = (x.extent[:, axis, None, None, None] for axis in (0, 1))
    return (rows < height) & (columns < width)


def fill_outside(x: FeatureMap, value: float) -> jax.Array:
    """Return the data `[B, H, W, C]` with `value` outside the extent."""
    if x.extent is None:
        return x.data
    # A selection, not a product: values outside may be nan.
    return jnp.where(extent_mask(x), x.data, jnp.asarray(value, x.data.dtype))


def zero_outside(x: FeatureMap) -> jax.Array:
    """Return the data `[B, H, W, C]` with zeros outside the extent."""
    return fill_outside(x, 0)


def map_data(fn: Callable[[jax.Array], jax.Array], x: FeatureMap) -> FeatureMap:
    """Apply an elementwise function."""
    return x.replace(data=fn(x.data))


def add(a: FeatureMap, b: FeatureMap) -> FeatureMap:
    """Add two maps of the same shape and extent."""
    return a.replace(data=a.data + b.data)


def concat(maps: Sequence[FeatureMap]) -> FeatureMap:
    """Concatenate the channels of maps of the same size and extent."""
    return maps[0].replace(data=jnp.concatenate([x.data for x in maps], axis=-1))


def crop_or_pad_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Crop or pad the lower and right edges to the size and extent of `like`.

    Padding repeats the last valid row or column. Upsampled maps need this: their size may differ
    by one pixel from a skip's, since strides round.
    """
    data = x.data
    for axis, target in zip((1, 2), like.size, strict=True):
        if isinstance(target, int):
            missing = target - data.shape[axis]
            if missing > 0:
                widths = [(0, missing if i == axis else 0) for i in range(4)]
                data = jnp.pad(data, widths, mode="edge")
            data = lax.slice_in_dim(data, 0, target, axis=axis)
        elif target != data.shape[axis]:  # which of them is larger may be unknown
            data = jnp.take(data, jnp.arange(target), axis=axis, mode="clip")
        if x.extent is not None:
            data = _repeat_last(data, x.extent[:, axis - 1], axis)
    return FeatureMap(data, like.extent)


def _repeat_last(data: jax.Array, count: jax.Array, axis: int) -> jax.Array:
    """Replace the rows (or columns) after the first `count [B]` by the last of these."""
    shape = [1] * data.ndim
    shape[axis] = data.shape[axis]
    count = jnp.minimum(count, data.shape[axis]).reshape(-1, 1, 1, 1)
    index = jnp.broadcast_to(count - 1, [1 if i == axis else n for i, n in enumerate(data.shape)])
    last = jnp.take_along_axis(data, index, axis=axis, mode="clip")
    return jnp.where(jnp.arange(data.shape[axis]).reshape(shape) < count, data, last)
