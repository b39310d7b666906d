"""Transposed convolutions.

A kernel is `[height, width, in, out]`, oriented as torch's; torch stores it as
`[in, out, height, width]`, and so it is named `transposed_kernel`. XLA lowers the gradients of a
transposed convolution badly; here they are made of plain ones.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.convolution.conv import keep_folded, kept_folded
from fcnjax.models.layers.convolution.space_to_depth import interleave
from fcnjax.models.layers.feature_map import FeatureMap, zero_outside


def transposed_conv(data: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """A transposed convolution, as torch's `conv_transpose2d`.

    Each of the `stride * stride` pixels of a cell of the result sees taps of its own: they are as
    many small convolutions of the input.

    Args:
        data: `[B, H, W, I]`.
        kernel: `[k, k, I, O]`, of the same dtype; k is at least the stride.
        stride: Step of the input's pixels in the result.
        padding: What is left off at each edge of the result.

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
                    _taps(place + padding, side, stride, count - size)
                    for place, count, size in zip((i, j), counts, data.shape[1:3], strict=True)
                ),
                strict=True,
            )
            pixels.append(
                lax.conv_general_dilated(
                    data,
                    kernel[taps],
                    window_strides=(1, 1),
                    padding=pads,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
            )
    return interleave(pixels, stride)[:, : sizes[0], : sizes[1]]


def _taps(place: int, side: int, stride: int, more: int) -> tuple[slice, tuple[int, int]]:
    """The taps that a place of the cells sees, and the zeros before and after the input."""
    first = place % stride
    last = first + (side - 1 - first) // stride * stride
    # The last tap sees the earliest pixel.
    return slice(last, first - 1 if first else None, -stride), (
        (last - place) // stride,
        (place - first) // stride + more,
    )


class ConvTranspose2x(nn.Module):
    """Transposed convolution with a 2x2 kernel and stride 2: doubles the size.

    Its taps do not overlap: it is a 1x1 convolution and a rearrangement.

    Attributes:
        features: Output channels.
        dtype: Of the computation; parameters are float32.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, 2H, 2W, features]`."""
        flat, bias = kept_folded(self) or self._weights(x.channels)
        data = x.data.astype(self.dtype) @ flat
        batch, (height, width) = x.data.shape[0], x.size
        data = data.reshape(batch, height, width, 2, 2, self.features).transpose(0, 1, 3, 2, 4, 5)
        data = data.reshape(batch, 2 * height, 2 * width, self.features) + bias
        return FeatureMap(data, None if x.extent is None else 2 * x.extent)

    def _weights(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """The kernel `[in, 4 features]` and the bias as they are used."""
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=2, out_axis=3)
        kernel = self.param("transposed_kernel", init, (2, 2, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        kernel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1).astype(self.dtype)
        keep_folded(self, kernel, bias)
        return kernel, bias


class ConvTranspose3x3(nn.Module):
    """Transposed convolution with a 3x3 kernel and stride 2: size n becomes 2n + 1.

    Attributes:
        features: Output channels.
        dtype: Of the computation; parameters are float32.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, 2H + 1, 2W + 1, features]`."""
        data = _overlapping(self, x, side=3, padding=0)
        return FeatureMap(data, None if x.extent is None else 2 * x.extent + 1)


class ConvTranspose4x4(nn.Module):
    """Transposed convolution with a 4x4 kernel, stride 2 and padding 1: doubles the size.

    Attributes:
        features: Output channels.
        dtype: Of the computation; parameters are float32.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, 2H, 2W, features]`."""
        data = _overlapping(self, x, side=4, padding=1)
        return FeatureMap(data, None if x.extent is None else 2 * x.extent)


def _overlapping(
    module: ConvTranspose3x3 | ConvTranspose4x4, x: FeatureMap, side: int, padding: int
) -> jax.Array:
    """One of stride 2, with a bias."""
    # A quarter of the taps meets in a pixel of the result, on average.
    init = nn.initializers.variance_scaling(8.0, "fan_in", "normal")
    kernel = module.param("transposed_kernel", init, (side, side, x.channels, module.features))
    bias = module.param("bias", nn.initializers.zeros, (module.features,))
    data = zero_outside(x).astype(module.dtype)
    data = transposed_conv(data, kernel.astype(module.dtype), 2, padding)
    return data + bias.astype(module.dtype)


class BilinearConvTranspose(nn.Module):
    """Transposed convolution that starts as bilinear upsampling (Long et al. 2015).

    Keeps the channels, has no bias, and fades at the edges, where it sees zeros.

    Attributes:
        factor: How many times larger the result is.
        dtype: Of the computation.
    """

    factor: int = 2
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, factor H, factor W, C]`."""
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
    """The kernel `[side, side, C, C]` that upsamples each channel bilinearly."""
    del key  # an initialiser that draws nothing
    side, channels = shape[0], shape[-1]
    factor = (side + 1) // 2
    hat = 1 - np.abs(np.arange(side) - (side - 1) / 2) / factor
    kernel = np.outer(hat, hat)[:, :, None, None] * np.eye(channels)
    return jnp.asarray(kernel, dtype)
