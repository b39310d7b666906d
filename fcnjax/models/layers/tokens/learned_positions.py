"""Position embeddings that are parameters, resized to the size of each map."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.antialias import resize_image
from fcnjax.models.layers.feature_map import FeatureMap


class LearnedPositions(nn.Module):
    """Add a learned embedding to each pixel (Dosovitskiy et al. 2020, arXiv:2010.11929).

    The embeddings of a square grid are stretched over the extent of each example, with the
    antialiased bicubic filter, as DINOv2 and timm do.

    Attributes:
        side: Side of the grid.
        deviation: Standard deviation of the initial values.
    """

    side: int
    deviation: float = 0.02

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Return `[B, H, W, C]` with the embeddings added."""
        init = nn.initializers.normal(self.deviation)
        table = self.param("embedding", init, (self.side**2, x.channels))
        grid = FeatureMap(table.reshape(1, self.side, self.side, x.channels))
        if x.extent is not None:
            shape = (x.data.shape[0], *grid.data.shape[1:])
            grid = resize_image(FeatureMap(jnp.broadcast_to(grid.data, shape)), x, "bicubic")
        elif x.size != grid.size:
            grid = resize_image(grid, FeatureMap(x.data[:1]), "bicubic")
        return x.replace(data=_add(x.data, grid.data))


def _add(data: jax.Array, embeddings: jax.Array) -> jax.Array:
    return data + embeddings.astype(data.dtype)
