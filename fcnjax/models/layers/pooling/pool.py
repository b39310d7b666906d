"""Pooling."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.convolution.space_to_depth import first_argmax, interleave, space_to_depth
from fcnjax.models.layers.feature_map import FeatureMap, at_least, fill_outside, zero_outside


def max_pool(
    x: FeatureMap, kernel: int = 2, stride: int = 2, padding: int = 0, ceil: bool = False
) -> FeatureMap:
    """The greatest value of each window, as torch's `max_pool2d`.

    Where torch would reach size zero, the result has size one.

    Args:
        x: Input.
        kernel: Side of the window.
        stride: Step of the window.
        padding: Rows and columns added at each edge; they never win.
        ceil: Whether a last window that is only partly filled counts.
    """

    def pooled(size):  # as `at_least` takes it
        steps = (size + 2 * padding - kernel + (stride - 1 if ceil else 0)) // stride
        return at_least(steps, 0) + 1

    data = fill_outside(x, -jnp.inf)
    outs = tuple(map(pooled, x.size))
    for axis, out in zip((1, 2), outs, strict=True):
        data = _fitted(data, axis, padding, (out - 1) * stride + kernel)
    if kernel == stride:
        data = max_of_cells(data, kernel)
    else:
        for axis, out in zip((1, 2), outs, strict=True):
            data = _max_of_slices(data, axis, kernel, stride, out)
    if x.extent is None:
        return FeatureMap(data)
    # Windows that saw nothing are -inf: zero them, lest a later product makes nan of a gradient.
    pooled_map = FeatureMap(data, pooled(x.extent))
    return pooled_map.replace(data=zero_outside(pooled_map))


def _fitted(data: jax.Array, axis: int, padding: int, span: int) -> jax.Array:
    """Pads with what never wins, or cuts, to the span of the windows."""
    after = span - data.shape[axis] - padding
    if padding or after:
        pads = [(padding, after, 0) if i == axis else (0, 0, 0) for i in range(4)]
        data = lax.pad(data, jnp.asarray(-jnp.inf, data.dtype), pads)
    return data


def _max_of_slices(data: jax.Array, axis: int, kernel: int, stride: int, out: int) -> jax.Array:
    """Maximum of strided slices: its gradient needs no select-and-scatter, which is slow."""
    slices = (
        lax.slice_in_dim(data, i, i + (out - 1) * stride + 1, stride, axis) for i in range(kernel)
    )
    return functools.reduce(jnp.maximum, slices)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_of_cells(data: jax.Array, side: int) -> jax.Array:
    """The greatest value of each cell of `side * side` pixels.

    The gradient compares the input with the result, which a model keeps anyway; derived, it would
    keep which was greater. Of those that are equal the first has it, as in torch.

    Args:
        data: `[B, H, W, C]`, whose sides `side` divides.
        side: Of the cells.
    """
    return functools.reduce(jnp.maximum, space_to_depth(data, side))


def _max_of_cells_forward(data, side):
    greatest = max_of_cells(data, side)
    return greatest, (data, greatest)


def _max_of_cells_backward(side, saved, slope):
    data, greatest = saved
    slopes = [
        jnp.where(wins, slope, 0) for wins in first_argmax(space_to_depth(data, side), greatest)
    ]
    return (interleave(slopes, side),)


max_of_cells.defvjp(_max_of_cells_forward, _max_of_cells_backward)


def mean_pool(
    x: FeatureMap,
    kernel: int = 2,
    stride: int = 2,
    partial: bool = False,
    count_outside: bool = False,
) -> FeatureMap:
    """The mean of each window, as torch's `avg_pool2d`.

    Where torch would reach size zero, the result has size one.

    Args:
        x: Input.
        kernel: Side of the window.
        stride: Step of the window.
        partial: Whether every step that begins in the map counts, though its window may reach over
            the lower or right edge; with a kernel as large as the stride this is `ceil_mode`.
        count_outside: Whether what lies beyond the edges counts, as zero; otherwise a window's mean
            is that of its true pixels.
    """

    def pooled(size):  # as `at_least` takes it
        if partial:
            return -(-size // stride)
        steps = (size - kernel) // stride
        return at_least(steps, 0) + 1

    outs = [pooled(size) for size in x.size]
    over = [
        at_least((out - 1) * stride + kernel - size, 0)
        for out, size in zip(outs, x.size, strict=True)
    ]
    data = zero_outside(x).astype(jnp.float32)
    window, steps = (1, kernel, kernel, 1), (1, stride, stride, 1)
    pads = ((0, 0), (0, over[0]), (0, over[1]), (0, 0))
    data = lax.reduce_window(data, 0.0, lax.add, window, steps, pads)
    if count_outside:
        data = data / kernel**2
    else:
        rows, columns = (_window_counts(x, i, kernel, stride, outs[i]) for i in (0, 1))
        data = data / (rows[:, :, None, None] * columns[:, None, :, None])
    return FeatureMap(data.astype(x.data.dtype), None if x.extent is None else pooled(x.extent))


def _window_counts(x: FeatureMap, axis: int, kernel: int, stride: int, out: int) -> jax.Array:
    """`[B or 1, out]`: how many true rows (or columns) lie in each window; one at least."""
    size = jnp.asarray(x.size[axis])[None] if x.extent is None else x.extent[:, axis]
    return jnp.clip(size[:, None] - stride * jnp.arange(out), 1, kernel)


def global_mean(x: FeatureMap) -> jax.Array:
    """The mean over the true pixels: float32 `[B, C]`."""
    total = zero_outside(x).astype(jnp.float32).sum((1, 2))
    if x.extent is None:
        return total / (x.size[0] * x.size[1])
    return total / jnp.prod(x.extent, axis=1, keepdims=True)
