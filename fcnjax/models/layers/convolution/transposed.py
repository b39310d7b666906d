"""Transposed convolutions.

A kernel is `[height, width, in, out]`, oriented as torch's. torch stores it as
`[in, out, height, width]`; the name `transposed_kernel` marks it. XLA's gradients of transposed
convolutions are slow, so these are made of plain convolutions.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import read_folded, store_folded
from fcnjax.models.layers.convolution.gradient import convolve
from fcnjax.models.layers.convolution.rearrange import depth_to_space
from fcnjax.models.layers.feature_map import FeatureMap, zero_outside


def transposed_conv(data: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Compute a transposed convolution, as torch's `conv_transpose2d`.

    Each of the `stride * stride` pixel positions in a block of the result reads its own taps, so
    the result is made of as many small convolutions of the input.

    Args:
        data: `[B, H, W, I]`.
        kernel: `[k, k, I, O]`, of the same dtype; k is at least the stride.
        stride: Distance of the input's pixels in the result.
        padding: Pixels cropped at each edge of the result.

    Returns:
        `[B, (H - 1) stride - 2 padding + k, ..., O]`.
    """
    side = kernel.shape[0]
    sizes = [(size - 1) * stride - 2 * padding + side for size in data.shape[1:3]]
    counts = [-(-size // stride) for size in sizes]
    pixels = []
    for i in range(stride):
        for j in range(stride):
            taps, pads = zip(
                *(
                    _taps(position + padding, side, stride, count - size)
                    for position, count, size in zip((i, j), counts, data.shape[1:3], strict=True)
                ),
                strict=True,
            )
            pixels.append(convolve(data, kernel[taps], padding=pads))
    return depth_to_space(pixels, stride)[:, : sizes[0], : sizes[1]]


def _taps(position: int, side: int, stride: int, more: int) -> tuple[slice, tuple[int, int]]:
    """Return the taps that a position in the blocks reads, and the zeros around the input."""
    first = position % stride
    last = first + (side - 1 - first) // stride * stride
    # The last tap reads the earliest pixel.
    return slice(last, first - 1 if first else None, -stride), (
        (last - position) // stride,
        (position - first) // stride + more,
    )


class BlockConvTranspose(nn.Module):
    """Transposed convolution whose stride is the side of its kernel: multiplies the size.

    Its taps do not overlap, so it is a 1x1 convolution and a rearrangement.

    Attributes:
        features: Output channels.
        dtype: Dtype of the computation; parameters are float32.
        factor: The stride, and the side of the kernel.
    """

    features: int
    dtype: jnp.dtype = jnp.float32
    factor: int = 2

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, factor H, factor W, features]`."""
        flat, bias = read_folded(self) or self._weights(x.channels)
        data = x.data.astype(self.dtype) @ flat
        batch, (height, width), factor = x.data.shape[0], x.size, self.factor
        data = data.reshape(batch, height, width, factor, factor, self.features)
        data = data.transpose(0, 1, 3, 2, 4, 5)
        data = data.reshape(batch, factor * height, factor * width, self.features) + bias
        return FeatureMap(data, None if x.extent is None else factor * x.extent)

    def _weights(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Return the kernel `[in, 4 features]` and the bias as they are used."""
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=2, out_axis=3)
        shape = (self.factor, self.factor, channels, self.features)
        kernel = self.param("transposed_kernel", init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        kernel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1).astype(self.dtype)
        store_folded(self, kernel, bias)
        return kernel, bias


class ConvTranspose2x(BlockConvTranspose):
    """Transposed convolution with a 2x2 kernel and stride 2: doubles the size."""


class _OverlappingConvTranspose(nn.Module):
    """Transposed convolution with stride 2, and a kernel of `side`, larger than the stride.

    Attributes:
        features: Output channels.
        dtype: Dtype of the computation; parameters are float32.
    """

    features: int
    dtype: jnp.dtype = jnp.float32
    side: ClassVar[int]
    padding: ClassVar[int]

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, 2H + side - 2 - 2 padding, ..., features]`."""
        # On average, a quarter of the taps meet in a pixel of the result.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "normal")
        shape = (self.side, self.side, x.channels, self.features)
        kernel = self.param("transposed_kernel", init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        data = zero_outside(x).astype(self.dtype)
        data = transposed_conv(data, kernel.astype(self.dtype), 2, self.padding)
        data = data + bias.astype(self.dtype)
        extent = None if x.extent is None else 2 * x.extent
        if extent is not None and (growth := self.side - 2 - 2 * self.padding):
            extent = extent + growth
        return FeatureMap(data, extent)


class ConvTranspose3x3(_OverlappingConvTranspose):
    """Transposed convolution with a 3x3 kernel and stride 2: size n becomes 2n + 1."""

    side: ClassVar[int] = 3
    padding: ClassVar[int] = 0


class ConvTranspose4x4(_OverlappingConvTranspose):
    """Transposed convolution with a 4x4 kernel, stride 2 and padding 1: doubles the size."""

    side: ClassVar[int] = 4
    padding: ClassVar[int] = 1


class BilinearConvTranspose(nn.Module):
    """Transposed convolution initialised to bilinear upsampling (Long et al. 2015).

    It keeps the channels, has no bias, and fades at the edges, where it reads zeros.

    Attributes:
        factor: Upsampling factor.
        dtype: Dtype of the computation.
    """

    factor: int = 2
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, factor H, factor W, C]`."""
        side = 2 * self.factor - self.factor % 2
        kernel = self.param(
            "transposed_kernel", bilinear_init, (side, side, x.channels, x.channels)
        )
        data = transposed_conv(
            zero_outside(x).astype(self.dtype),
            kernel.astype(self.dtype),
            self.factor,
            self.factor // 2,
        )
        return FeatureMap(data, None if x.extent is None else self.factor * x.extent)


def bilinear_init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Return the kernel `[side, side, C, C]` that upsamples each channel bilinearly."""
    del key  # an initialiser without randomness
    side, channels = shape[0], shape[-1]
    factor = (side + 1) // 2
    hat = 1 - np.abs(np.arange(side) - (side - 1) / 2) / factor
    kernel = np.outer(hat, hat)[:, :, None, None] * np.eye(channels)
    return jnp.asarray(kernel, dtype)
