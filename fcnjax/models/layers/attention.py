"""Self-attention over the pixels of a map."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv, he_normal
from fcnjax.models.layers.feature_map import FeatureMap, inside, zero_outside
from fcnjax.models.layers.norm import LayerNorm

# Of the linear layers of transformers.
linear_init = nn.initializers.truncated_normal(0.02)


class ReducedAttention(nn.Module):
    """Attention of each pixel to a smaller map (Xie et al. 2021, arXiv:2105.15203).

    The map that gives keys and values is reduced by a convolution without overlap (`reduce`, with
    `reduce_norm`), so that the cost falls with the square of the reduction. What lies outside an
    example's extent is attended to by nobody.

    Attributes:
        heads: Parts of the channels that attend apart.
        reduction: Side and stride of that convolution; 1: there is none.
        dtype: Of the computation; parameters are float32, and so is the softmax.
    """

    heads: int
    reduction: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to the same shape; the heads must divide C."""
        query = self._linear(x.channels, "query")(x)
        given = x
        if self.reduction > 1:
            sides = {"kernel": self.reduction, "stride": self.reduction, "padding": 0}
            reduce = {"dtype": self.dtype, "kernel_init": he_normal, **sides}
            given = Conv(x.channels, name="reduce", **reduce)(x)
            given = LayerNorm(epsilon=1e-5, dtype=self.dtype, name="reduce_norm")(given)
        given = self._linear(2 * x.channels, "key_value")(given)
        data = self._attended(query, given)
        return self._linear(x.channels, "project")(x.replace(data=data))

    def _linear(self, features: int, name: str) -> Conv:
        return Conv(features, 1, dtype=self.dtype, kernel_init=linear_init, name=name)

    def _attended(self, query: FeatureMap, key_value: FeatureMap) -> jax.Array:
        shape, width = query.data.shape, query.channels // self.heads
        queries = query.data.reshape(shape[0], -1, self.heads, width)
        # Zeros: a weight of 0 on nan would be nan.
        pairs = zero_outside(key_value).reshape(shape[0], -1, 2, self.heads, width)
        mask = None
        if key_value.extent is not None:
            mask = inside(key_value).reshape(shape[0], 1, 1, -1)
        attend = jax.nn.dot_product_attention
        return attend(queries, pairs[:, :, 0], pairs[:, :, 1], mask=mask).reshape(shape)
