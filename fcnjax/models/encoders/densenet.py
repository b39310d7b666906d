"""DenseNet."""

import functools
from types import MappingProxyType

from flax import linen as nn

from fcnjax.models.layers import NORMS, Conv, ConvModule, FeatureMap, concat, max_pool, mean_pool

STEM_WIDTH = 64
VARIANTS = MappingProxyType(
    {
        "torchvision": "a block's feature after the next transition's norm and activation, the "
        "last one normalised; segmentation_models.pytorch's too",
        "timm": "timm's: a block's feature as the block returns it, the last one normalised and "
        "activated",
    }
)


class DenseLayer(ConvModule):
    """A 1x1 and a 3x3 convolution, each after a norm and an activation.

    Attributes:
        growth: Channels of the result; the 1x1 convolution has four times as many.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    growth: int

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H, W, growth]`."""
        conv = functools.partial(Conv, use_bias=self.norm == "none", dtype=self.dtype)
        x = self.norm_act("norm1")(x, train)
        x = conv(4 * self.growth, kernel=1, name="conv1")(x)
        x = self.norm_act("norm2")(x, train)
        return conv(self.growth, kernel=3, name="conv2")(x)


class DenseNet(ConvModule):
    """DenseNet (Huang et al. 2017, arXiv:1608.06993), as torchvision, without its classifier.

    The features are the stem before its pooling and each dense block, by one of `VARIANTS`.
    torchvision's classifier activates the last one. Transitions round sizes down, but never to
    zero.

    Attributes:
        depths: Layers of each dense block.
        growth: Channels that a layer adds.
        variant: A name in `VARIANTS`; they share weights, but not features.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    depths: tuple[int, ...]
    growth: int = 32
    variant: str = "torchvision"

    @property
    def strides(self) -> tuple[int, ...]:
        """2 (the stem before its pooling), 4, 8, 16, 32."""
        return tuple(2 ** (i + 1) for i in range(len(self.depths) + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the stem and of each dense block; a transition halves them."""
        channels, width = [STEM_WIDTH], STEM_WIDTH
        for depth in self.depths:
            channels.append(width + depth * self.growth)
            width = channels[-1] // 2
        return tuple(channels)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to about `[B, H / stride, W / stride, channels]` each.

        Sizes are rounded up at strides 2 and 4, and down from each feature to the next after that.
        """
        x = self.conv_block(STEM_WIDTH, 7, stride=2, padding=3, name="conv0")(x, train)
        features = [x]
        x = max_pool(x, kernel=3, stride=2, padding=1)
        for i, depth in enumerate(self.depths, start=1):
            if i > 1:
                block_result = x
                x = self.norm_act(f"transition{i - 1}_norm")(x, train)
                features.append(block_result if self.variant == "timm" else x)
                conv = functools.partial(Conv, use_bias=self.norm == "none", dtype=self.dtype)
                x = conv(x.channels // 2, kernel=1, name=f"transition{i - 1}_conv")(x)
                x = mean_pool(x)
            for j in range(1, depth + 1):
                layer = DenseLayer(self.growth, name=f"block{i}_layer{j}", **self.block_options)
                x = concat([x, layer(x, train)])
        activation = self.activation if self.variant == "timm" else None
        x = NORMS[self.norm](dtype=self.dtype, activation=activation, name="norm5")(x, train)
        return (*features, x)


DENSENETS = MappingProxyType(
    {
        "densenet121": functools.partial(DenseNet, (6, 12, 24, 16)),
        "densenet169": functools.partial(DenseNet, (6, 12, 32, 32)),
    }
)
