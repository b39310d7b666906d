"""The contracting path of U-Net."""

from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import ConvNormAct, FeatureMap, max_pool, mirror_pad

DOWNSAMPLES = MappingProxyType(
    {"max_pool": "2x2, the last window may be partly filled", "conv": "3x3 with stride 2"}
)
PADDINGS = MappingProxyType(
    {"same": "convolutions keep the size", "valid": "they do not; the image is mirrored instead"}
)


def valid_margin(depth: int) -> int:
    """How many pixels at each edge a U-Net of `depth` valid stages takes from the image.

    Two 3x3 convolutions take 2 pixels of their stage at each edge, 2 * 2^i of the image's at stage
    i = 0, 1, ... The path down has them at all stages and the path up again at all but the deepest:
    2 * (2^depth - 1) + 2 * (2^(depth - 1) - 1) = 6 * 2^(depth - 1) - 4, 92 for the paper's depth 5.
    """
    return 6 * 2 ** (depth - 1) - 4


def valid_size(size: int, depth: int) -> int:
    """The side that the paper's U-Net must be given to score `size` pixels in a row, or more.

    Every pooling must find an even size. Let the deepest stage end with k pixels. Going up, n
    become 2n - 4; from k that is 2^(depth - 1) * (k - 4) + 4 at stride 1. So k - 4 is
    (size - 4) / 2^(depth - 1), rounded up, and the margins are added: 388 pixels need 572.

    Args:
        size: Of the image; a number, or an array of them.
        depth: Number of stages.
    """
    step = 2 ** (depth - 1)
    return 4 - (4 - size) // step * step + 2 * valid_margin(depth)


class Vanilla(nn.Module):
    """Stages of two 3x3 convolutions, each at half the resolution of the last.

    U-Net's contracting path (Ronneberger et al. 2015, arXiv:1505.04597). The paper's convolutions
    are `valid`: they see no padding, and it mirrors what a tile at the border of an image lacks.
    Here the image is mirrored by the `valid_margin`, and by what makes the sizes even below; the
    features then cover more than the image, and only `UNet` with the same padding can decode them.

    Attributes:
        widths: Channels of each stage.
        downsample: A name in `DOWNSAMPLES`. Both round sizes up, so none reaches zero.
        padding: A name in `PADDINGS`. `valid` takes `max_pool`.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    downsample: str = "max_pool"
    padding: str = "same"
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @property
    def strides(self) -> tuple[int, ...]:
        """1, 2, 4, ..."""
        return tuple(2**i for i in range(len(self.widths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """The widths."""
        return self.widths

    @property
    def pooled_stages(self) -> tuple[tuple[int, ...], ...] | None:
        """For each feature, channels of the convolutions since the 2x2 max pooling before it.

        None where something else lies between the features.
        """
        if self.downsample != "max_pool":
            return None
        return tuple((width, width) for width in self.widths)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` each.

        With `valid` a stage that begins with h pixels in a column ends with h - 4, of which the
        next one gets half; the first begins with `valid_size(H)`.
        """
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        conv = {"padding": 0, **block} if self.padding == "valid" else block
        if self.padding == "valid":
            x = self._mirrored(x)
        features = []
        for i, width in enumerate(self.widths, start=1):
            if i > 1 and self.downsample == "max_pool":
                x = max_pool(x, ceil=True)
            elif i > 1:
                x = ConvNormAct(x.channels, stride=2, padding=1, name=f"down{i}", **block)(x, train)
            x = ConvNormAct(width, name=f"stage{i}_conv1", **conv)(x, train)
            x = ConvNormAct(width, name=f"stage{i}_conv2", **conv)(x, train)
            features.append(x)
        return tuple(features)

    def _mirrored(self, x: FeatureMap) -> FeatureMap:
        depth = len(self.widths)
        size = tuple(valid_size(side, depth) for side in x.size)
        extent = None if x.extent is None else valid_size(x.extent, depth)
        return mirror_pad(x, valid_margin(depth), size, extent)
