"""Squeeze and excitation."""

from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.feature_map import FeatureMap, map_data
from fcnjax.models.layers.norm import activated
from fcnjax.models.layers.pooling.pool import global_mean

GATES: MappingProxyType[str, Callable[[jax.Array], jax.Array]] = MappingProxyType(
    {"sigmoid": nn.sigmoid, "hard_sigmoid": nn.hard_sigmoid}
)


class SqueezeExcite(nn.Module):
    """Scales each channel by a weight that all channels' means give (Hu et al. 2018).

    arXiv:1709.01507. The means are over the true pixels.

    Attributes:
        squeezed: Channels between the two layers (`reduce` and `expand`).
        activation: A name in `ACTIVATIONS`, between the layers.
        gate: A name in `GATES`: from the second layer to the weights.
        dtype: Of the computation.
    """

    squeezed: int
    activation: str = "relu"
    gate: str = "sigmoid"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to the same shape."""
        y = FeatureMap(global_mean(x)[:, None, None])
        y = Conv(self.squeezed, kernel=1, dtype=self.dtype, name="reduce")(y)
        y = activated(self.activation, y)
        y = Conv(x.channels, kernel=1, dtype=self.dtype, name="expand")(y)
        weights = GATES[self.gate](y.data)
        return map_data(lambda data: data * weights, x)
