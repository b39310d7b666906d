"""Stochastic depth."""

from flax import linen as nn

from fcnjax.models.layers.feature_map import FeatureMap, map_data


class DropPath(nn.Module):
    """Drop a residual branch, independently for each example (Huang et al. 2016, arXiv:1603.09382).

    Kept branches are scaled by `1 / (1 - rate)`, so the expected value is unchanged. Draws from the
    `dropout` key.
    """

    rate: float

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Drop in training, do nothing in inference; the shape `[B, H, W, C]` is kept."""
        drop = nn.Dropout(self.rate, broadcast_dims=(1, 2, 3), deterministic=not train)
        if x.batch_factor == 1:
            return map_data(drop, x)
        # `space_to_batch` spread each example over several: they are dropped together.
        merged = (-1, x.batch_factor**2 * x.size[0], x.size[1], x.channels)
        return map_data(lambda data: drop(data.reshape(merged)).reshape(data.shape), x)
