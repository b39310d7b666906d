"""ConvNeXt."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers import Conv, DropPath, FeatureMap, LayerNorm, activated, add, map_data

LAYER_SCALE = 1e-6
_init = nn.initializers.truncated_normal(0.02)


class Block(nn.Module):
    """A 7x7 convolution of each channel, then two layers over the channels, beside a shortcut.

    Attributes:
        width: Channels.
        drop_path: Probability of leaving only the shortcut, in training.
        dtype: Of the computation; parameters are float32.
    """

    width: int
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, width]` to the same shape."""
        conv = functools.partial(Conv, dtype=self.dtype, kernel_init=_init)
        y = conv(self.width, kernel=7, groups=self.width, name="depthwise")(x)
        y = LayerNorm(dtype=self.dtype, name="norm")(y)
        y = conv(4 * self.width, kernel=1, name="expand")(y)
        y = activated("gelu", y)
        y = conv(self.width, kernel=1, name="contract")(y)
        gamma = self.param("gamma", nn.initializers.constant(LAYER_SCALE), (self.width,))
        y = map_data(lambda data: data * gamma.astype(self.dtype), y)
        return add(x, DropPath(self.drop_path)(y, train))


class ConvNeXt(nn.Module):
    """ConvNeXt (Liu et al. 2022, arXiv:2201.03545), as timm, without its classifier.

    Its norms are layer norms, its activation is the exact GELU: neither is an option. As timm's
    feature extractor, it does not normalise the features.

    Attributes:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        drop_path: Probability of dropping the last block's branch, in training; it rises from 0 at
            the first block in equal steps.
        dtype: Of the computation; parameters are float32.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @property
    def strides(self) -> tuple[int, ...]:
        """4, 8, 16, 32."""
        return tuple(4 * 2**i for i in range(len(self.depths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """The widths."""
        return self.widths

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), width]` each."""
        rates = np.split(np.linspace(0, self.drop_path, sum(self.depths)), np.cumsum(self.depths))
        conv = functools.partial(Conv, padding=0, dtype=self.dtype, kernel_init=_init)
        norm = functools.partial(LayerNorm, dtype=self.dtype)
        features = []
        for i, width in enumerate(self.widths, start=1):
            if i == 1:
                x = conv(width, kernel=4, stride=4, name="stem")(x)
                x = norm(name="stem_norm")(x)
            else:
                x = norm(name=f"down{i}_norm")(x)
                x = conv(width, kernel=2, stride=2, name=f"down{i}")(x)
            for j, rate in enumerate(rates[i - 1]):
                x = Block(width, float(rate), self.dtype, name=f"stage{i}_block{j}")(x, train)
            features.append(x)
        return tuple(features)


ConvNeXtTiny = functools.partial(ConvNeXt, (3, 3, 9, 3), (96, 192, 384, 768))
ConvNeXtSmall = functools.partial(ConvNeXt, (3, 3, 27, 3), (96, 192, 384, 768))
ConvNeXtBase = functools.partial(ConvNeXt, (3, 3, 27, 3), (128, 256, 512, 1024))
ConvNeXtLarge = functools.partial(ConvNeXt, (3, 3, 27, 3), (192, 384, 768, 1536))
