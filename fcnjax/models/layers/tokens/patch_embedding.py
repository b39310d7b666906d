"""The first layer of plain vision transformers: patches, class token and position embeddings."""

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.attention import linear_init
from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.feature_map import FeatureMap, zero_outside
from fcnjax.models.layers.tokens.interpolation import resize_grid
from fcnjax.models.layers.tokens.token_map import TokenMap


class PatchEmbedding(nn.Module):
    """Embed patches, and add a class token and position embeddings (Dosovitskiy et al. 2021).

    arXiv:2010.11929. A strided convolution (`patch`) embeds each patch. The position embeddings
    are a square grid, which is interpolated to that of each image, and one for the class token.

    Attributes:
        width: Channels.
        patch: Side of a patch.
        positions: Side of the grid of position embeddings; 0 for none.
        rule: How they are interpolated: a name in `interpolation.WEIGHTS`.
        dtype: Dtype of the computation; parameters are float32.
    """

    width: int
    patch: int = 16
    positions: int = 0
    rule: str = "bicubic"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> TokenMap:
        """Map an image `[B, H, W, C]` to its patches `[B, h, w, width]` and the class token.

        A last, partial patch is dropped. Values outside an extent are finite.
        """
        options = {"stride": self.patch, "padding": 0, "kernel_init": linear_init}
        patches = Conv(self.width, self.patch, dtype=self.dtype, name="patch", **options)(x)
        token = self.param("class_token", linear_init, (1, self.width))
        data = zero_outside(patches)
        if self.positions:
            shape = (1 + self.positions**2, self.width)
            table = self.param("positions", linear_init, shape)
            token = token + table[:1]
            grid = table[1:].reshape(self.positions, self.positions, self.width)
            data = data + resize_grid(grid, patches, self.rule).astype(self.dtype)
        token = jnp.broadcast_to(token.astype(self.dtype), (data.shape[0], 1, self.width))
        return TokenMap(data, patches.extent, tokens=token)
