"""The separable convolution."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv, tap_init
from fcnjax.models.layers.feature_map import FeatureMap


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
