"""Attention by channel and by pixel."""

from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.feature_map import FeatureMap, map_data
from fcnjax.models.layers.squeeze import SqueezeExcite


class SCSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al. 2018, arXiv:1808.08127).

    The sum of the map scaled by a weight for each channel, which all channels' means over the true
    pixels give, and of the map scaled by a weight for each pixel, which its own channels give. As
    segmentation_models.pytorch 0.6 has it.

    Attributes:
        reduction: How many times fewer channels lie between the two layers of `channel`.
        dtype: Of the computation.
    """

    reduction: int = 16
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to the same shape."""
        squeezed = max(x.channels // self.reduction, 1)
        by_channel = SqueezeExcite(squeezed, dtype=self.dtype, name="channel")(x)
        # By the channels that it reads: drawn by its one output, it would saturate the sigmoid.
        init = nn.initializers.lecun_normal()
        spatial = Conv(1, kernel=1, dtype=self.dtype, kernel_init=init, name="spatial")(x)
        weights = nn.sigmoid(spatial.data)
        return map_data(lambda data: by_channel.data + data * weights, x)


ATTENTIONS = MappingProxyType({"scse": SCSE})
