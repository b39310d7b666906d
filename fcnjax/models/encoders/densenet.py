"""DenseNet, and the downsampling path of FC-DenseNet."""

import functools

from flax import linen as nn

from fcnjax.models.layers import (
    NORMS,
    Conv,
    ConvModule,
    FeatureMap,
    concat,
    dropout,
    map_data,
    max_pool,
    mean_pool,
)

STEM_WIDTH = 64
VARIANTS = {
    "torchvision": "a block's feature after the next transition's norm and activation, the "
    "last one normalised; segmentation_models.pytorch's too",
    "timm": "timm's: a block's feature as the block returns it, the last one normalised and "
    "activated",
}
FC_STEM_WIDTH = 48
DROPOUT = 0.2


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


DENSENETS = {
    "densenet121": functools.partial(DenseNet, (6, 12, 24, 16)),
    "densenet169": functools.partial(DenseNet, (6, 12, 32, 32)),
}


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
        widths = [FC_STEM_WIDTH + self.growth * sum(depths[: i + 1]) for i in range(len(depths))]
        return (*widths, self.growth * last)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), channels]` each."""
        options = {"dropout": self.dropout, **self.block_options}
        *depths, last = self.depths
        x = Conv(FC_STEM_WIDTH, dtype=self.dtype, name="stem")(x)
        features = []
        for i, depth in enumerate(depths, start=1):
            new = DenseBlock(depth, self.growth, name=f"block{i}", **options)(x, train)
            x = concat([x, new])
            features.append(x)
            x = max_pool(NormActConv(x.channels, 1, name=f"down{i}", **options)(x, train))
        bottleneck = DenseBlock(last, self.growth, name="bottleneck", **options)
        return (*features, bottleneck(x, train))


FCDENSENETS = {
    "fcdensenet56": functools.partial(FCDenseNet, (4, 4, 4, 4, 4, 4), 12),
    "fcdensenet67": functools.partial(FCDenseNet, (5, 5, 5, 5, 5, 5), 16),
    "fcdensenet103": functools.partial(FCDenseNet, (4, 5, 7, 10, 12, 15), 16),
}
