"""Squeeze and excitation, by channel and by pixel."""

from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv, lecun_normal
from fcnjax.models.layers.feature_map import FeatureMap, map_data
from fcnjax.models.layers.norm import activate
from fcnjax.models.layers.pooling.pool import global_mean

GATES: MappingProxyType[str, Callable[[jax.Array], jax.Array]] = MappingProxyType(
    {"sigmoid": nn.sigmoid, "hard_sigmoid": nn.hard_sigmoid}
)


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


ATTENTIONS = MappingProxyType({"scse": SCSE})
