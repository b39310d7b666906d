"""Convolutions that only some decoders use. Kernels are `[height, width, in, out]`."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.conv import Conv, tap_init
from fcnjax.models.layers.feature_map import FeatureMap, zero_outside

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class SeparableConv(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 one of them all, without biases.

    Attributes:
        features: Output channels.
        dilation: Distance between the taps of the 3x3.
        dtype: Of the computation.
    """

    features: int
    dilation: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: FeatureMap, affine: tuple[jax.Array, jax.Array] | None = None
    ) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H, W, features]`; `affine` as in `Conv`."""
        conv = functools.partial(Conv, use_bias=False, dtype=self.dtype)
        wide = {"dilation": self.dilation, "groups": x.channels, "kernel_init": tap_init}
        x = conv(x.channels, name="depthwise", **wide)(x)
        return conv(self.features, kernel=1, name="pointwise")(x, affine)


class ConvTranspose4x4(nn.Module):
    """Transposed convolution with a 4x4 kernel, stride 2 and padding 1: doubles the size.

    The kernel, `transposed_kernel`, is oriented as torch's, which a correlation of the spread
    input flips.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, 2H, 2W, features]`."""
        # Four of the sixteen taps meet in a pixel of the result.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "normal")
        kernel = self.param("transposed_kernel", init, (4, 4, x.channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        data = lax.conv_general_dilated(
            zero_outside(x).astype(self.dtype),
            kernel[::-1, ::-1].astype(self.dtype),
            window_strides=(1, 1),
            padding=((2, 2), (2, 2)),
            lhs_dilation=(2, 2),
            dimension_numbers=_LAYOUT,
        )
        data = data + bias.astype(self.dtype)
        return FeatureMap(data, None if x.extent is None else 2 * x.extent)
