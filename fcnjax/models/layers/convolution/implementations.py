"""XLA's convolution, and a depthwise one that is faster on a CPU."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.platform import current_platform

Padding = tuple[tuple[int, int], tuple[int, int]]


def plain_conv(
    data: jax.Array,
    kernel: jax.Array,
    dilation: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    *,
    stride: int = 1,
    groups: int = 1,
    order: str = "HWIO",
) -> jax.Array:
    """Convolve `data [B, H, W, I]` with a kernel of that order of axes, with XLA's own gradient."""
    return lax.conv_general_dilated(
        data,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", order, "NHWC"),
        feature_group_count=groups,
    )


def depthwise(
    data: jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    dilation: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
) -> jax.Array:
    """Convolve each channel of `data` with its own kernel.

    XLA's implementation is slow on CPU. There a sum of shifted, scaled copies is used instead,
    which is about 30 times faster (10 times with its gradient).

    Args:
        data: `[B, H, W, C]`.
        kernel: `[height, width, 1, C]`, of the same dtype.
        stride: Stride, in both directions.
        dilation: Dilation of the kernel.
        padding: Zeros before and after the rows, and before and after the columns.

    Returns:
        `[B, H', W', C]`.
    """
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    shifts = functools.partial(sum_of_shifts, **options)
    grouped = functools.partial(plain_conv, groups=data.shape[-1], **options)
    if current_platform().platform == "any":
        return lax.platform_dependent(data, kernel, cpu=shifts, default=grouped)
    return (shifts if current_platform().is_cpu else grouped)(data, kernel)


# Jitted, so that a network traces it once for each shape.
@functools.partial(jax.jit, static_argnames=("stride", "dilation", "padding"))
def sum_of_shifts(
    data: jax.Array, kernel: jax.Array, stride: int, dilation: int, padding: Padding
) -> jax.Array:
    """`depthwise` as a sum over the kernel's taps, in float32."""
    wide = data.astype(jnp.float32)
    wide = lax.pad(wide, jnp.float32(0), [(0, 0, 0), *((*pad, 0) for pad in padding), (0, 0, 0)])
    kernel = kernel.astype(jnp.float32)
    batch, height, width, channels = wide.shape
    spans = [
        (size - (taps - 1) * dilation - 1) // stride * stride + 1
        for size, taps in zip((height, width), kernel.shape[:2], strict=True)
    ]
    total = jnp.float32(0)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            y, x = i * dilation, j * dilation
            stop = (batch, y + spans[0], x + spans[1], channels)
            tap = lax.slice(wide, (0, y, x, 0), stop, (1, stride, stride, 1))
            total = total + tap * kernel[i, j, 0]
    return total.astype(data.dtype)
