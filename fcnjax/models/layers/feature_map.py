"""The carrier of all layers: an array and the part of it that is true."""

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
        extent: int32 `[B, 2]`, the true height and width of each example, which lies in the upper
            left corner of `data`; what is outside means nothing. None: all of `data` is true, and
            no masking is emitted.
        batch_factor: Of `space_to_batch`; 1 except in dilated stages in training, where only the
            convolutions depend on it.
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


def at_least(size, least: int):
    """The greater of a size (a number, a symbol of `jax.export`, an array of them) and `least`."""
    if isinstance(size, jax.Array | np.ndarray):
        return jnp.maximum(size, least)
    return jax.core.max_dim(size, least)


def inside(x: FeatureMap) -> jax.Array:
    """Bool `[B, H, W, 1]`: which positions are within the extent, which must not be None."""
    rows, columns = (lax.broadcasted_iota(jnp.int32, (1, *x.size, 1), axis) for axis in (1, 2))
    height, width = (x.extent[:, axis, None, None, None] for axis in (0, 1))
    return (rows < height) & (columns < width)


def fill_outside(x: FeatureMap, value: float) -> jax.Array:
    """The data `[B, H, W, C]` with `value` wherever it means nothing."""
    if x.extent is None:
        return x.data
    # A selection, not a product: what lies outside may be nan.
    return jnp.where(inside(x), x.data, jnp.asarray(value, x.data.dtype))


def zero_outside(x: FeatureMap) -> jax.Array:
    """The data `[B, H, W, C]` with zeros wherever it means nothing."""
    return fill_outside(x, 0)


def map_data(fn: Callable[[jax.Array], jax.Array], x: FeatureMap) -> FeatureMap:
    """Applies an elementwise function."""
    return x.replace(data=fn(x.data))


def add(one: FeatureMap, other: FeatureMap) -> FeatureMap:
    """The sum of two maps of one shape and extent."""
    return one.replace(data=one.data + other.data)


def concat(maps: Sequence[FeatureMap]) -> FeatureMap:
    """Joins the channels of maps of one size and extent."""
    return maps[0].replace(data=jnp.concatenate([x.data for x in maps], axis=-1))


def crop_or_pad_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Cuts or extends the lower and right edges to the size and extent of `like`.

    What is missing repeats the last row or column. For upsampled maps, whose size may differ from
    a skip's by the pixel that the rounding of a stride took.
    """
    data = x.data
    for axis, target in zip((1, 2), like.size, strict=True):
        missing = target - data.shape[axis]
        if missing > 0:
            widths = [(0, missing if i == axis else 0) for i in range(4)]
            data = jnp.pad(data, widths, mode="edge")
        data = lax.slice_in_dim(data, 0, target, axis=axis)
        if x.extent is not None:
            data = _repeat_from(data, x.extent[:, axis - 1], axis)
    return FeatureMap(data, like.extent)


def _repeat_from(data: jax.Array, count: jax.Array, axis: int) -> jax.Array:
    """Replaces what follows the first `count [B]` rows (or columns) by the last of these."""
    shape = [1] * data.ndim
    shape[axis] = data.shape[axis]
    count = jnp.minimum(count, data.shape[axis]).reshape(-1, 1, 1, 1)
    index = jnp.broadcast_to(count - 1, [1 if i == axis else n for i, n in enumerate(data.shape)])
    last = jnp.take_along_axis(data, index, axis=axis)
    return jnp.where(jnp.arange(data.shape[axis]).reshape(shape) < count, data, last)
