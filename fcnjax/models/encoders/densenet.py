"""DenseNet."""

import functools
from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import NORMS, Conv, ConvNormAct, FeatureMap, concat, max_pool, mean_pool

STEM_WIDTH = 64
FORMS = MappingProxyType(
    {
        "torchvision": "a block's feature as the transition after it normalises and activates it, "
        "the last one normalised; segmentation_models.pytorch's too",
        "timm": "timm's: a block's feature as the block gives it, the last one normalised and "
        "activated",
    }
)


class DenseLayer(nn.Module):
    """Gives new channels from all before: a 1x1 and a 3x3 convolution, each after a norm.

    Attributes:
        growth: Channels of the result; the 1x1 has four times as many.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    growth: int
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H, W, growth]`."""
        conv = functools.partial(Conv, use_bias=self.norm == "none", dtype=self.dtype)
        x = _active(self, x, train, "norm1")
        x = conv(4 * self.growth, kernel=1, name="conv1")(x)
        x = _active(self, x, train, "norm2")
        return conv(self.growth, kernel=3, name="conv2")(x)


class DenseNet(nn.Module):
    """DenseNet (Huang et al. 2017, arXiv:1608.06993), as torchvision, without its classifier.

    Features are the stem before its pooling and each dense block, by one of `FORMS`. torchvision's
    classifier activates the last one. Transitions round sizes down, but never to zero.

    Attributes:
        depths: Layers of each dense block.
        growth: Channels that a layer adds.
        norm, activation, dtype: As in `ConvNormAct`.
        form: A name in `FORMS`; the weights are alike, the features not.
    """

    depths: tuple[int, ...]
    growth: int = 32
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    form: str = "torchvision"

    @property
    def strides(self) -> tuple[int, ...]:
        """2 (the stem before its pooling), 4, 8, 16, 32."""
        return tuple(2 ** (i + 1) for i in range(len(self.depths) + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the stem and of each dense block; a transition halves them."""
        channels, width = [STEM_WIDTH], STEM_WIDTH
        for depth in self.depths:
            channels.append(width + depth * self.growth)
            width = channels[-1] // 2
        return tuple(channels)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to about `[B, H / stride, W / stride, channels]` each.

        Sizes round up at strides 2 and 4, and down from each feature to the next one after.
        """
        common = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        x = ConvNormAct(STEM_WIDTH, kernel=7, stride=2, padding=3, name="conv0", **common)(x, train)
        features = [x]
        x = max_pool(x, kernel=3, stride=2, padding=1)
        for i, depth in enumerate(self.depths, start=1):
            if i > 1:
                raw = x
                x = _active(self, x, train, f"transition{i - 1}_norm")
                features.append(raw if self.form == "timm" else x)
                conv = functools.partial(Conv, use_bias=self.norm == "none", dtype=self.dtype)
                x = conv(x.channels // 2, kernel=1, name=f"transition{i - 1}_conv")(x)
                x = mean_pool(x)
            for j in range(1, depth + 1):
                layer = DenseLayer(self.growth, name=f"block{i}_layer{j}", **common)
                x = concat([x, layer(x, train)])
        last = self.activation if self.form == "timm" else None
        x = NORMS[self.norm](dtype=self.dtype, activation=last, name="norm5")(x, train)
        return (*features, x)


def _active(block: nn.Module, x: FeatureMap, train: bool, name: str) -> FeatureMap:
    """Normalised, below `block` as `name`, and activated."""
    norm = NORMS[block.norm](dtype=block.dtype, activation=block.activation, name=name)
    return norm(x, train)


DenseNet121 = functools.partial(DenseNet, (6, 12, 24, 16))
DenseNet169 = functools.partial(DenseNet, (6, 12, 32, 32))
