"""The contracting path of U-Net."""

from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import ConvNormAct, FeatureMap, max_pool

DOWNSAMPLES = MappingProxyType(
    {"max_pool": "2x2, the last window may be partly filled", "conv": "3x3 with stride 2"}
)


class Vanilla(nn.Module):
    """Stages of two 3x3 convolutions, each at half the resolution of the last.

    As U-Net's contracting path (Ronneberger et al. 2015, arXiv:1505.04597), but convolutions keep
    the size.

    Attributes:
        widths: Channels of each stage.
        downsample: A name in `DOWNSAMPLES`. Both round sizes up, so none reaches zero.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    downsample: str = "max_pool"
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

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` each."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        features = []
        for i, width in enumerate(self.widths, start=1):
            if i > 1 and self.downsample == "max_pool":
                x = max_pool(x, ceil=True)
            elif i > 1:
                x = ConvNormAct(x.channels, stride=2, padding=1, name=f"down{i}", **block)(x, train)
            x = ConvNormAct(width, name=f"stage{i}_conv1", **block)(x, train)
            x = ConvNormAct(width, name=f"stage{i}_conv2", **block)(x, train)
            features.append(x)
        return tuple(features)
