"""Convolutions with gradients that are faster than those of XLA."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.convolution.implementations import Padding, plain_conv
from fcnjax.models.layers.platform import current_platform

# Values of the copies of which one matrix product is made: they should stay in the cache.
_BLOCK_VALUES = 300_000
# Where XLA's own gradient of a kernel is slow on a CPU, measured by `benchmarks/convolutions.py`:
# for more output channels than this, and maps of at least this size.
_FEW_CHANNELS = 16
_SMALL_MAP = 1024
# More would make programs large.
_MAX_TAPS = 49


class _Window(NamedTuple):
    """Stride, dilation and padding of a convolution."""

    stride: int
    dilation: int
    padding: Padding

    def conv(self, data: jax.Array, kernel: jax.Array) -> jax.Array:
        return plain_conv(data, kernel, self.dilation, self.padding, stride=self.stride)

    def is_pointwise(self, kernel: jax.Array) -> bool:
        """Return True if each pixel of the result reads one pixel, at a multiple of the stride."""
        return kernel.shape[:2] == (1, 1) and self.padding == ((0, 0), (0, 0))


def convolve(
    data: jax.Array,
    kernel: jax.Array,
    dilation: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    *,
    stride: int = 1,
    groups: int = 1,
    order: str = "HWIO",
) -> jax.Array:
    """Compute `plain_conv`, with the gradient that is fastest on the current platform.

    XLA computes the gradient of a kernel as a convolution whose window is as large as the image.
    That is slow for dilated kernels, and on a CPU for most. There it is a sum of matrix products
    instead, in which each pixel of the result has the inputs of all taps in a row. 1x1 convolutions
    that are differentiated on a CPU are matrix products as well.

    Args:
        data: `[B, H, W, I]`.
        kernel: The kernel, of the same dtype, with that order of axes.
        dilation: Dilation of the kernel.
        padding: Zeros before and after the rows, and before and after the columns.
        stride: Stride, in both directions.
        groups: Groups of channels that are convolved separately.
        order: Order of the kernel's axes.

    Returns:
        `[B, H', W', O]`.
    """
    if groups == 1 and order == "HWIO" and (_on_cpu() or (dilation > 1 and stride == 1)):
        return _conv(data, kernel, _Window(stride, dilation, padding))
    options = {"stride": stride, "groups": groups, "order": order}
    return plain_conv(data, kernel, dilation, padding, **options)


def _on_cpu() -> bool:
    """Return True on CPUs over which no rows are sharded: a loop over rows would gather them."""
    return current_platform().is_cpu and current_platform().spatial == 1


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(data: jax.Array, kernel: jax.Array, window: _Window) -> jax.Array:
    return window.conv(data, kernel)


def _conv_forward(data, kernel, window):
    if _on_cpu() and window.is_pointwise(kernel):
        return data[:, :: window.stride, :: window.stride] @ kernel[0, 0], (data, kernel)
    return window.conv(data, kernel), (data, kernel)


def _conv_backward(window, residuals, grad):
    data, kernel = residuals
    # What is not returned of this is not computed.
    data_grad, kernel_grad = jax.vjp(window.conv, data, kernel)[1](grad)
    if not _on_cpu():
        return data_grad, _product_of_shifts(data, grad, kernel, window)
    if window.is_pointwise(kernel):
        data_grad = _spread(grad @ kernel[0, 0].T, data.shape, window.stride)
    elif not _is_slow(kernel, grad):
        return data_grad, kernel_grad
    # Each device sums over its own images.
    devices = current_platform().data
    devices = 1 if len(data) % devices else devices
    return data_grad, _sum_of_products(data, grad, kernel.shape, window, devices)


_conv.defvjp(_conv_forward, _conv_backward)


def _is_slow(kernel: jax.Array, grad: jax.Array) -> bool:
    """Return True where XLA's gradient of a kernel is slow on a CPU."""
    taps = kernel.shape[0] * kernel.shape[1]
    pixels = grad.shape[1] * grad.shape[2]
    return taps <= _MAX_TAPS and kernel.shape[-1] > _FEW_CHANNELS and pixels >= _SMALL_MAP


def _spread(data: jax.Array, shape: tuple[int, ...], stride: int) -> jax.Array:
    """Put zeros between pixels and after them, to `shape`."""
    gaps = [
        (0, size - (now - 1) * stride - 1, stride - 1)
        for size, now in zip(shape[1:3], data.shape[1:3], strict=True)
    ]
    return lax.pad(data, jnp.zeros((), data.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])


def _product_of_shifts(
    data: jax.Array, grad: jax.Array, kernel: jax.Array, window: _Window
) -> jax.Array:
    """Return the gradient of the kernel as one product with a shifted copy of `grad` for each tap.

    The stride is 1; arguments as in `_sum_of_products`.
    """
    zero = jnp.zeros((), grad.dtype)
    taps = []
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            # This tap read the input pixel at this offset from the result's.
            offsets = (
                i * window.dilation - window.padding[0][0],
                j * window.dilation - window.padding[1][0],
            )
            edges = [
                (offset, size - out - offset, 0)
                for offset, size, out in zip(offsets, data.shape[1:3], grad.shape[1:3], strict=True)
            ]
            taps.append(lax.pad(grad, zero, [(0, 0, 0), *edges, (0, 0, 0)]))
    shifted = jnp.stack(taps, axis=3)
    product = jnp.einsum("bhwi,bhwto->tio", data, shifted, preferred_element_type=jnp.float32)
    return product.reshape(kernel.shape).astype(kernel.dtype)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _sum_of_products(
    data: jax.Array, grad: jax.Array, shape: tuple[int, ...], window: _Window, devices: int
) -> jax.Array:
    """Return the gradient of a kernel as a sum of products, one for each block of pixels.

    Args:
        data: Input `[B, H, W, I]`.
        grad: Gradient of the result, `[B, H', W', O]`.
        shape: Shape of the kernel, `(h, w, I, O)`.
        window: Stride, dilation and padding.
        devices: Devices over which the images are divided equally.
    """
    columns = shape[0] * shape[1] * shape[2]
    images = data.shape[0] // devices
    height, width = grad.shape[1:3]
    pixels = min(max(_BLOCK_VALUES // columns, 512), 4096)
    # A block is several images, or some rows of one.
    count = _largest_divisor(images, max(pixels // (height * width), 1))
    rows = -(-height // -(-height * width // pixels))
    blocks = -(-height // rows)

    stride, dilation = window.stride, window.dilation
    reach = [dilation * (size - 1) for size in shape[:2]]
    sizes = ((blocks * rows - 1) * stride + reach[0] + 1, (width - 1) * stride + reach[1] + 1)
    edges = [
        (before, size - before - now, 0)
        for (before, _), size, now in zip(window.padding, sizes, data.shape[1:3], strict=True)
    ]
    data = lax.pad(data, jnp.zeros((), data.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    grad = jnp.pad(grad, ((0, 0), (0, blocks * rows - height), (0, 0), (0, 0)))
    data = data.reshape(devices, images, *data.shape[1:])
    grad = grad.reshape(devices, images, *grad.shape[1:])

    def add_block(total, block):
        image, row = block // blocks * count, block % blocks * rows
        span = (devices, count, (rows - 1) * stride + reach[0] + 1, *data.shape[3:])
        inputs = lax.dynamic_slice(data, (0, image, row * stride, 0, 0), span)
        span = (devices, count, rows, *grad.shape[3:])
        grads = lax.dynamic_slice(grad, (0, image, row, 0, 0), span)
        grads = grads.reshape(devices, -1, grad.shape[-1])
        shifted = [
            inputs[
                :,
                :,
                i : inputs.shape[2] - reach[0] + i : stride,
                j : inputs.shape[3] - reach[1] + j : stride,
            ]
            for i in range(0, reach[0] + 1, dilation)
            for j in range(0, reach[1] + 1, dilation)
        ]
        shifted = jnp.concatenate(shifted, -1).reshape(devices, -1, columns)
        product = jnp.einsum("dpi,dpo->dio", shifted, grads, preferred_element_type=jnp.float32)
        return total + product, None

    zero = jnp.zeros((devices, columns, shape[-1]), jnp.float32)
    totals, _ = lax.scan(add_block, zero, jnp.arange(images // count * blocks))
    return totals.sum(0).reshape(shape).astype(data.dtype)


def _largest_divisor(number: int, limit: int) -> int:
    """Return the largest divisor that is not above the limit."""
    return max(each for each in range(1, min(number, limit) + 1) if number % each == 0)
