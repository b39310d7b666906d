"""Dropout in training, and at inference where a model's doubt is sampled."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence

from flax import linen as nn

from fcnjax.models.layers.feature_map import FeatureMap, map_data

_sampled = contextvars.ContextVar("sampled", default=None)


def dropout(rate: float, train: bool, shared: Sequence[int] = ()) -> nn.Dropout:
    """A dropout that drops in training, and within `sampled_dropout`, with the `dropout` key.

    Args:
        rate: The share that is dropped.
        train: Whether this is training.
        shared: Axes along which all is dropped or nothing.
    """
    rates = _sampled.get()
    if rates is not None:
        rates.append(rate)
    return nn.Dropout(rate, shared, deterministic=not train and rates is None)


class SpatialDropout(nn.Module):
    """Drops whole channels (Tompson et al. 2015, arXiv:1411.4280), with the `dropout` key."""

    rate: float

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Drops in training, does nothing in inference."""
        return map_data(dropout(self.rate, train, (1, 2)), x)


@contextlib.contextmanager
def sampled_dropout() -> Iterator[list[float]]:
    """Within it, a model applied with `train=False` drops features as in training.

    Norms keep to their running statistics, and whole branches (stochastic depth) stay. Source: Gal
    and Ghahramani 2016, arXiv:1506.02142.

    Yields:
        The rates of the dropouts that were applied.
    """
    rates = [] if (outer := _sampled.get()) is None else outer
    token = _sampled.set(rates)
    try:
        yield rates
    finally:
        _sampled.reset(token)
