"""Dilated convolution, with a gradient of the kernel that XLA lowers well."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.convolution.depthwise import Padding

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain_conv(
    data: jax.Array, kernel: jax.Array, dilation: int = 1, padding: Padding = ((0, 0), (0, 0))
) -> jax.Array:
    """Convolves `data [B, H, W, I]` with `kernel [h, w, I, O]`, whose taps are `dilation` apart."""
    return lax.conv_general_dilated(
        data,
        kernel,
        window_strides=(1, 1),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=_LAYOUT,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def dilated_conv(data: jax.Array, kernel: jax.Array, dilation: int, padding: Padding) -> jax.Array:
    """As `plain_conv`.

    Derived, the gradient of the kernel is a convolution whose window is as large as the image: that
    is slow. Here it is a matrix product of the image and the result's gradient, shifted once for
    each tap.

    Args:
        data: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the same dtype.
        dilation: Distance between the kernel's taps.
        padding: Zeros before and after the rows, and before and after the columns.

    Returns:
        `[B, H', W', O]`.
    """
    return plain_conv(data, kernel, dilation, padding)


def _forward(data, kernel, dilation, padding):
    return plain_conv(data, kernel, dilation, padding), (data, kernel)


def _backward(dilation, padding, saved, slope):
    data, kernel = saved
    _, pull = jax.vjp(lambda data: plain_conv(data, kernel, dilation, padding), data)
    zero = jnp.zeros((), slope.dtype)
    taps = []
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            # The tap saw the pixel this far below and to the right of the result's.
            away = (i * dilation - padding[0][0], j * dilation - padding[1][0])
            edges = [
                (far, size - out - far, 0)
                for far, size, out in zip(away, data.shape[1:3], slope.shape[1:3], strict=True)
            ]
            taps.append(lax.pad(slope, zero, [(0, 0, 0), *edges, (0, 0, 0)]))
    shifted = jnp.stack(taps, axis=3)
    product = jnp.einsum("bhwi,bhwto->tio", data, shifted, preferred_element_type=jnp.float32)
    return (*pull(slope), product.reshape(kernel.shape).astype(kernel.dtype))


dilated_conv.defvjp(_forward, _backward)
