"""Max, mean, global and adaptive pooling, and max unpooling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.convolution.rearrange import (
    depth_to_space,
    first_argmax,
    space_to_depth,
)
from fcnjax.models.layers.feature_map import FeatureMap, fill_outside, max_dim, zero_outside


def max_pool(
    x: FeatureMap, kernel: int = 2, stride: int = 2, padding: int = 0, ceil: bool = False
) -> FeatureMap:
    """Return the maximum of each window, as torch's `max_pool2d`.

    Where torch's result would have size zero, this one has size one.

    Args:
        x: Input.
        kernel: Window size.
        stride: Stride.
        padding: Rows and columns added at each edge; they are never the maximum.
        ceil: Whether a last, partly filled window counts.
    """

    def output_size(size):  # of the types that `max_dim` takes
        steps = (size + 2 * padding - kernel + (stride - 1 if ceil else 0)) // stride
        return max_dim(steps, 0) + 1

    data = fill_outside(x, -jnp.inf)
    sizes = tuple(map(output_size, x.size))
    for axis, out in zip((1, 2), sizes, strict=True):
        data = _pad_or_crop(data, axis, padding, (out - 1) * stride + kernel)
    if kernel == stride:
        data = max_pool_blocks(data, kernel)
    else:
        for axis, out in zip((1, 2), sizes, strict=True):
            data = _max_of_slices(data, axis, kernel, stride, out)
    if x.extent is None:
        return FeatureMap(data)
    # Windows outside the extent are -inf: zero them, or a later product makes the gradient nan.
    pooled = FeatureMap(data, output_size(x.extent))
    return pooled.replace(data=zero_outside(pooled))


def _pad_or_crop(data: jax.Array, axis: int, padding: int, span: int) -> jax.Array:
    """Pad with -inf, or crop, to the span of all windows."""
    after = span - data.shape[axis] - padding
    if padding or after:
        pads = [(padding, after, 0) if i == axis else (0, 0, 0) for i in range(4)]
        data = lax.pad(data, jnp.asarray(-jnp.inf, data.dtype), pads)
    return data


def _max_of_slices(data: jax.Array, axis: int, kernel: int, stride: int, out: int) -> jax.Array:
    """Return the maximum of strided slices, whose gradient avoids the slow select-and-scatter."""
    slices = (
        lax.slice_in_dim(data, i, i + (out - 1) * stride + 1, stride, axis) for i in range(kernel)
    )
    return functools.reduce(jnp.maximum, slices)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool_blocks(data: jax.Array, side: int) -> jax.Array:
    """Return the maximum of each block of `side * side` pixels.

    The gradient compares the pixels of the input, which a model keeps anyway; automatic
    differentiation would save masks too. Of equal values the first gets the gradient, as in torch.

    Args:
        data: `[B, H, W, C]`, whose sides `side` divides.
        side: Side of the blocks.
    """
    return block_maximum(data, side)


# Jitted, so that its name marks it in a program: ONNX has an operator for it.
@functools.partial(jax.jit, static_argnums=1)
def block_maximum(data: jax.Array, side: int) -> jax.Array:
    """`max_pool_blocks` without its gradient."""
    return functools.reduce(jnp.maximum, space_to_depth(data, side))


def _max_pool_blocks_forward(data, side):
    return max_pool_blocks(data, side), data


def _max_pool_blocks_backward(side, data, grad):
    masks = first_argmax(space_to_depth(data, side))
    grads = [jnp.where(is_first, grad, 0) for is_first in masks]
    return (depth_to_space(grads, side),)


max_pool_blocks.defvjp(_max_pool_blocks_forward, _max_pool_blocks_backward)


def mean_pool(
    x: FeatureMap,
    kernel: int = 2,
    stride: int = 2,
    partial: bool = False,
    count_outside: bool = False,
) -> FeatureMap:
    """Return the mean of each window, as torch's `avg_pool2d`.

    Where torch's result would have size zero, this one has size one.

    Args:
        x: Input.
        kernel: Window size.
        stride: Stride.
        partial: Whether every window that begins in the map counts, even if it extends beyond the
            lower or right edge. With a kernel as large as the stride this is `ceil_mode`.
        count_outside: Whether pixels beyond the edges count, as zeros; otherwise a window's mean is
            over its valid pixels.
    """

    def output_size(size):  # of the types that `max_dim` takes
        if partial:
            return (size - 1) // stride + 1
        steps = (size - kernel) // stride
        return max_dim(steps, 0) + 1

    sizes = [output_size(size) for size in x.size]
    missing = [
        max_dim((out - 1) * stride + kernel - size, 0)
        for out, size in zip(sizes, x.size, strict=True)
    ]
    data = zero_outside(x).astype(jnp.float32)
    window, steps = (1, kernel, kernel, 1), (1, stride, stride, 1)
    pads = ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0))
    data = lax.reduce_window(data, 0.0, lax.add, window, steps, pads)
    if count_outside:
        data = data / kernel**2
    else:
        rows, columns = (_window_counts(x, i, kernel, stride, sizes[i]) for i in (0, 1))
        data = data / (rows[:, :, None, None] * columns[:, None, :, None])
    return FeatureMap(
        data.astype(x.data.dtype), None if x.extent is None else output_size(x.extent)
    )


def _window_counts(x: FeatureMap, axis: int, kernel: int, stride: int, out: int) -> jax.Array:
    """Return `[B or 1, out]`: the valid rows (or columns) in each window, at least one."""
    size = jnp.asarray(x.size[axis])[None] if x.extent is None else x.extent[:, axis]
    return jnp.clip(size[:, None] - stride * jnp.arange(out), 1, kernel)


def global_mean(x: FeatureMap) -> jax.Array:
    """Return the mean over the valid pixels, float32 `[B, C]`."""
    total = zero_outside(x).astype(jnp.float32).sum((1, 2))
    if x.extent is None:
        return total / (x.size[0] * x.size[1])
    return total / jnp.prod(x.extent, axis=1, keepdims=True)


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
    rows, columns = (_cell_weights(x, axis, bins) for axis in (0, 1))
    data = jnp.matmul(rows, data.reshape(batch, height, -1), precision=lax.Precision.HIGHEST)
    data = data.reshape(batch, bins, width, channels)
    data = jnp.matmul(columns[:, None], data, precision=lax.Precision.HIGHEST)
    extent = None if x.extent is None else jnp.full_like(x.extent, bins)
    return FeatureMap(data.astype(x.data.dtype), extent)


def _cell_weights(x: FeatureMap, axis: int, bins: int) -> np.ndarray | jax.Array:
    """Return `[B or 1, bins, size]`: the weight of each row (or column) in each cell's mean."""
    is_static = x.extent is None and isinstance(x.size[axis], int)
    xp = np if is_static else jnp
    size = xp.asarray([x.size[axis]]) if x.extent is None else x.extent[:, axis]
    size, cell = size[:, None, None], np.arange(bins)[:, None]
    start, stop = cell * size // bins, -(-(cell + 1) * size // bins)
    position = xp.arange(x.size[axis])
    inside = (position >= start) & (position < stop)
    return inside.astype(np.float32) / (stop - start).astype(np.float32)


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
        windows = _pad_or_crop_end(windows, axis, 2 * x.size[axis - 1], -jnp.inf)
    pixels = space_to_depth(windows, 2)
    unpooled = [jnp.where(is_first, values, 0) for is_first in first_argmax(pixels)]
    data = depth_to_space(unpooled, 2)
    for axis in (1, 2):
        data = _pad_or_crop_end(data, axis, before.size[axis - 1], 0)
    return FeatureMap(data, before.extent)


def _pad_or_crop_end(data: jax.Array, axis: int, size: int, fill: float) -> jax.Array:
    """Pad or crop the end of an axis to `size`."""
    pads = [(0, max_dim(size - data.shape[i], 0) if i == axis else 0, 0) for i in range(4)]
    data = lax.pad(data, jnp.asarray(fill, data.dtype), pads)
    return lax.slice_in_dim(data, 0, size, axis=axis)
