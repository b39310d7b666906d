"""Maps rearranged so that a dilated convolution becomes a plain one."""

import math
from collections.abc import Sequence

from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.platform import current_platform


def batch_factor_of(x: FeatureMap, dilations: Sequence[int], train: bool) -> int:
    """The phases that make convolutions of these dilations plain, or as little dilated as can be.

    1 in inference, which has no gradients to be spared, and where the map cannot be divided so: its
    columns, and the rows that each device has, which would have to be exchanged.
    """
    batch_factor = math.gcd(*dilations)
    parts = (batch_factor * current_platform().spatial, batch_factor)
    whole = all(side * x.batch_factor % part == 0 for side, part in zip(x.size, parts, strict=True))
    return batch_factor if train and x.extent is None and whole else 1


def space_to_batch(x: FeatureMap, batch_factor: int) -> FeatureMap:
    """The same map in another number of phases.

    In n phases, pixels n apart in both directions lie beside each other, and each of the n * n maps
    of such pixels is an example of its own: `[B n n, H / n, W / n, C]`. A convolution with taps n
    apart has its taps beside each other there, and what works by the pixel does not notice. XLA
    lowers the gradients of dilated convolutions badly.

    Args:
        x: A map without an extent, whose sides `batch_factor` divides.
        batch_factor: 1 is the plain map.
    """
    if batch_factor == x.batch_factor:
        return x
    data = x.data
    if (n := x.batch_factor) > 1:
        (height, width), channels = x.size, x.channels
        data = data.reshape(-1, n, n, height, width, channels).transpose(0, 3, 1, 4, 2, 5)
        data = data.reshape(-1, height * n, width * n, channels)
    if (n := batch_factor) > 1:
        batch, height, width, channels = data.shape
        data = data.reshape(batch, height // n, n, width // n, n, channels)
        data = data.transpose(0, 2, 4, 1, 3, 5)
        data = data.reshape(batch * n * n, height // n, width // n, channels)
    return x.replace(data=data, batch_factor=batch_factor)
