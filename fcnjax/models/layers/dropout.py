"""Dropout of values, channels and residual branches, and Monte Carlo dropout at inference."""

import contextvars
from collections.abc import Sequence
from contextlib import AbstractContextManager

from flax import linen as nn

from fcnjax.models.layers.feature_map import FeatureMap, map_data
from fcnjax.models.layers.platform import override

_sampled_rates = contextvars.ContextVar("sampled", default=None)


def dropout(rate: float, train: bool, shared: Sequence[int] = ()) -> nn.Dropout:
    """Return a dropout layer, active in training and within `sampled_dropout`.

    Args:
        rate: The fraction dropped.
        train: Whether this is training.
        shared: Axes along which values are dropped together.
    """
    rates = _sampled_rates.get()
    if rates is not None:
        rates.append(rate)
    return nn.Dropout(rate, shared, deterministic=not train and rates is None)


class SpatialDropout(nn.Module):
    """Drop whole channels (Tompson et al. 2015, arXiv:1411.4280), with the `dropout` key."""

    rate: float

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Drop in training, do nothing in inference."""
        return map_data(dropout(self.rate, train, (1, 2)), x)


def sampled_dropout() -> AbstractContextManager[list[float]]:
    """Keep dropout active in models applied with `train=False` (Monte Carlo dropout).

    Norms use their running statistics, and stochastic depth drops nothing. Source: Gal and
    Ghahramani 2016, arXiv:1506.02142.

    Returns:
        A context whose value is the rates of the dropout layers that were applied.
    """
    outer = _sampled_rates.get()
    return override(_sampled_rates, [] if outer is None else outer)


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
