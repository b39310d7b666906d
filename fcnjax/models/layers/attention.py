"""Self-attention over the pixels of a map."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv, he_normal
from fcnjax.models.layers.feature_map import FeatureMap, extent_mask, zero_outside
from fcnjax.models.layers.norm import LayerNorm

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
        attend = jax.nn.dot_product_attention
        return attend(queries, pairs[:, :, 0], pairs[:, :, 1], mask=mask).reshape(shape)
