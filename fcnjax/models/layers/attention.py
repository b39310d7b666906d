"""Attention over pixels and over channels."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv, he_normal, lecun_normal
from fcnjax.models.layers.feature_map import FeatureMap, extent_mask, map_data, zero_outside
from fcnjax.models.layers.norm import LayerNorm, activate
from fcnjax.models.layers.pooling import global_mean
from fcnjax.models.layers.transformer.dot_product import dot_product

# The initialiser of the linear layers of transformers.
linear_init = nn.initializers.truncated_normal(0.02)


class ReducedAttention(nn.Module):
    """Self-attention with spatially reduced keys and values (Xie et al. 2021, arXiv:2105.15203).

    A strided convolution (`reduce`, then `reduce_norm`) shrinks the map that gives keys and values,
    so the cost falls with the square of the reduction. Pixels outside an example's extent are
    masked.

    Attributes:
        heads: Attention heads; they must divide the channels.
        reduction: Kernel and stride of that convolution; 1 for none.
        dtype: Dtype of the computation; parameters and the softmax are float32.
    """

    heads: int
    reduction: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        query = self._linear(x.channels, "query")(x)
        source = x
        if self.reduction > 1:
            shape = {"kernel": self.reduction, "stride": self.reduction, "padding": 0}
            reduce = {"dtype": self.dtype, "kernel_init": he_normal, **shape}
            source = Conv(x.channels, name="reduce", **reduce)(x)
            source = LayerNorm(epsilon=1e-5, dtype=self.dtype, name="reduce_norm")(source)
        key_value = self._linear(2 * x.channels, "key_value")(source)
        data = self._attend(query, key_value)
        return self._linear(x.channels, "project")(x.replace(data=data))

    def _linear(self, features: int, name: str) -> Conv:
        return Conv(features, 1, dtype=self.dtype, kernel_init=linear_init, name=name)

    def _attend(self, query: FeatureMap, key_value: FeatureMap) -> jax.Array:
        shape, width = query.data.shape, query.channels // self.heads
        queries = query.data.reshape(shape[0], -1, self.heads, width)
        # Zeros outside the extent: a weight of 0 times nan would be nan.
        pairs = zero_outside(key_value).reshape(shape[0], -1, 2, self.heads, width)
        mask = None
        if key_value.extent is not None:
            mask = extent_mask(key_value).reshape(shape[0], 1, 1, -1)
        return dot_product(queries, pairs[:, :, 0], pairs[:, :, 1], mask=mask).reshape(shape)


GATES: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": nn.sigmoid,
    "hard_sigmoid": nn.hard_sigmoid,
}


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the means of all (Hu et al. 2018).

    arXiv:1709.01507. The means are over the valid pixels.

    Attributes:
        squeeze_channels: Channels between the two layers (`reduce` and `expand`).
        activation: A name in `ACTIVATIONS`, between the layers.
        gate: A name in `GATES`, applied to the second layer's result.
        dtype: Dtype of the computation.
    """

    squeeze_channels: int
    activation: str = "relu"
    gate: str = "sigmoid"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        y = FeatureMap(global_mean(x)[:, None, None])
        y = Conv(self.squeeze_channels, kernel=1, dtype=self.dtype, name="reduce")(y)
        y = activate(self.activation, y)
        y = Conv(x.channels, kernel=1, dtype=self.dtype, name="expand")(y)
        weights = GATES[self.gate](y.data)
        return map_data(lambda data: data * weights, x)


class SCSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018, arXiv:1808.08127).

    The sum of two gated copies of the map: one gated by channel, from the means of all channels
    (`channel`), one gated by pixel, from the channels of each pixel (`spatial`). As in
    segmentation_models.pytorch 0.6.

    Attributes:
        reduction: The factor by which the two layers of `channel` reduce the channels in between.
        dtype: Dtype of the computation.
    """

    reduction: int = 16
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        channels = max(x.channels // self.reduction, 1)
        by_channel = SqueezeExcite(channels, dtype=self.dtype, name="channel")(x)
        # He's fan-out rule would count the one output channel, and saturate the sigmoid.
        spatial = Conv(1, kernel=1, dtype=self.dtype, kernel_init=lecun_normal, name="spatial")(x)
        weights = nn.sigmoid(spatial.data)
        return map_data(lambda data: by_channel.data + data * weights, x)


ATTENTIONS = {"scse": SCSE}
