"""Dilated convolution, with a gradient of the kernel that is fast in XLA."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.convolution.depthwise import Padding


def plain_conv(
    data: jax.Array, kernel: jax.Array, dilation: int = 1, padding: Padding = ((0, 0), (0, 0))
) -> jax.Array:
    """Convolve `data [B, H, W, I]` with `kernel [h, w, I, O]`, with XLA's own gradient."""
    return lax.conv_general_dilated(
        data,
        kernel,
        window_strides=(1, 1),
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def dilated_conv(data: jax.Array, kernel: jax.Array, dilation: int, padding: Padding) -> jax.Array:
    """Compute `plain_conv`, with another gradient of the kernel.

    XLA's is a convolution whose window is as large as the image, which is slow. Here it is a matrix
    product of the image with the result's gradient, shifted once for each tap.

    Args:
        data: `[B, H, W, I]`.
        kernel: `[h, w, I, O]`, of the same dtype.
        dilation: Dilation of the kernel.
        padding: Zeros before and after the rows, and before and after the columns.

    Returns:
        `[B, H', W', O]`.
    """
    return plain_conv(data, kernel, dilation, padding)


def _forward(data, kernel, dilation, padding):
    return plain_conv(data, kernel, dilation, padding), (data, kernel)


def _backward(dilation, padding, residuals, grad):
    data, kernel = residuals
    _, vjp = jax.vjp(lambda data: plain_conv(data, kernel, dilation, padding), data)
    zero = jnp.zeros((), grad.dtype)
    taps = []
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            # This tap read the input pixel at this offset from the result's.
            offsets = (i * dilation - padding[0][0], j * dilation - padding[1][0])
            edges = [
                (offset, size - out - offset, 0)
                for offset, size, out in zip(offsets, data.shape[1:3], grad.shape[1:3], strict=True)
            ]
            taps.append(lax.pad(grad, zero, [(0, 0, 0), *edges, (0, 0, 0)]))
    shifted = jnp.stack(taps, axis=3)
    product = jnp.einsum("bhwi,bhwto->tio", data, shifted, preferred_element_type=jnp.float32)
    return (*vjp(grad), product.reshape(kernel.shape).astype(kernel.dtype))


dilated_conv.defvjp(_forward, _backward)
