"""The downsampling path of FC-DenseNet."""

import functools
from types import MappingProxyType

from flax import linen as nn

from fcnjax.models.layers import Conv, ConvModule, FeatureMap, concat, dropout, map_data, max_pool

STEM_WIDTH = 48
DROPOUT = 0.2


class NormActConv(ConvModule):
    """Normalisation (`norm`), activation, convolution (`conv`) and dropout.

    Attributes:
        features: Output channels.
        kernel: Kernel size.
        dropout: Probability of dropping a value of the result in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    features: int
    kernel: int = 3
    dropout: float = DROPOUT

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H, W, features]`."""
        x = self.norm_act("norm")(x, train)
        # With a bias, as the authors' code: the result is not always normalised next.
        x = Conv(self.features, self.kernel, dtype=self.dtype, name="conv")(x)
        return map_data(dropout(self.dropout, train), x)


class DenseBlock(ConvModule):
    """Layers that each read the block's input and the results of all layers before.

    Attributes:
        depth: Number of layers.
        growth: Channels that each adds.
        dropout, norm, activation, dtype: As in `NormActConv`.
    """

    depth: int
    growth: int
    dropout: float = DROPOUT

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the channels added, `[B, H, W, depth * growth]`."""
        options = {"dropout": self.dropout, **self.block_options}
        new = []
        for i in range(1, self.depth + 1):
            layer = NormActConv(self.growth, name=f"layer{i}", **options)
            new.append(layer(concat([x, *new]), train))
        return concat(new)


class FCDenseNet(ConvModule):
    """The downsampling path of FC-DenseNet (Jegou et al. 2017, arXiv:1611.09326), and bottleneck.

    The features are the input of each dense block with the channels it added, before the pooling,
    and last only the channels that the bottleneck added, as the paper upsamples only those. They
    are neither normalised nor activated: their readers do that first. Pooling rounds sizes down,
    but never to zero.

    Attributes:
        depths: Layers of each dense block, the bottleneck last.
        growth: Channels that a layer adds.
        dropout: Probability of dropping a value after each convolution in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    depths: tuple[int, ...]
    growth: int = 16
    dropout: float = DROPOUT

    @property
    def strides(self) -> tuple[int, ...]:
        """1, 2, 4, 8, 16, 32."""
        return tuple(2**i for i in range(len(self.depths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after each block; of the last feature, those that the bottleneck adds."""
        *depths, last = self.depths
        widths = [STEM_WIDTH + self.growth * sum(depths[: i + 1]) for i in range(len(depths))]
        return (*widths, self.growth * last)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), channels]` each."""
        options = {"dropout": self.dropout, **self.block_options}
        *depths, last = self.depths
        x = Conv(STEM_WIDTH, dtype=self.dtype, name="stem")(x)
        features = []
        for i, depth in enumerate(depths, start=1):
            new = DenseBlock(depth, self.growth, name=f"block{i}", **options)(x, train)
            x = concat([x, new])
            features.append(x)
            x = max_pool(NormActConv(x.channels, 1, name=f"down{i}", **options)(x, train))
        bottleneck = DenseBlock(last, self.growth, name="bottleneck", **options)
        return (*features, bottleneck(x, train))


FCDENSENETS = MappingProxyType(
    {
        "fcdensenet56": functools.partial(FCDenseNet, (4, 4, 4, 4, 4, 4), 12),
        "fcdensenet67": functools.partial(FCDenseNet, (5, 5, 5, 5, 5, 5), 16),
        "fcdensenet103": functools.partial(FCDenseNet, (4, 5, 7, 10, 12, 15), 16),
    }
)
