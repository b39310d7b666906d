"""Depthwise separable convolution."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv, he_normal_fan_in
from fcnjax.models.layers.feature_map import FeatureMap


class SeparableConv(nn.Module):
    """A 3x3 depthwise convolution, then a 1x1 one, without biases.

    Attributes:
        features: Output channels.
        dilation: Dilation of the 3x3 kernel.
        dtype: Dtype of the computation.
    """

    features: int
    dilation: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: FeatureMap, affine: tuple[jax.Array, jax.Array] | None = None
    ) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H, W, features]`; `affine` as in `Conv`."""
        conv = functools.partial(Conv, use_bias=False, dtype=self.dtype)
        options = {"dilation": self.dilation, "groups": x.channels, "kernel_init": he_normal_fan_in}
        x = conv(x.channels, name="depthwise", **options)(x)
        return conv(self.features, kernel=1, name="pointwise")(x, affine)
