"""Stochastic depth."""

from flax import linen as nn

from fcnjax.models.layers.feature_map import FeatureMap, map_data


class DropPath(nn.Module):
    """Drops a residual branch, an example at a time (Huang et al. 2016, arXiv:1603.09382).

    What is kept is scaled by `1 / (1 - rate)`, so that the mean stays. Draws with the `dropout`
    key.
    """

    rate: float

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Drops in training, does nothing in inference; `[B, H, W, C]` as given."""
        drop = nn.Dropout(self.rate, broadcast_dims=(1, 2, 3), deterministic=not train)
        if x.batch_factor == 1:
            return map_data(drop, x)
        # The phases of an example are dropped together.
        together = (-1, x.batch_factor**2 * x.size[0], x.size[1], x.channels)
        return map_data(lambda data: drop(data.reshape(together)).reshape(data.shape), x)
