"""ResNet."""

import functools

from flax import linen as nn

from fcnjax.models.encoders.stages import drop_path_rates
from fcnjax.models.layers import (
    ConvModule,
    ConvNormAct,
    DropPath,
    FeatureMap,
    activate,
    add,
    max_pool,
    mean_pool,
    space_to_batch,
    space_to_batch_factor,
)

WIDTHS = (64, 128, 256, 512)


class BasicBlock(ConvModule):
    """Two 3x3 convolutions with a residual connection.

    Attributes:
        width: Channels of the convolutions; the result has `expansion` times as many.
        stride: Stride of the first convolution.
        dilation: Dilation of the 3x3 convolutions.
        groups, group_width: Used by `Bottleneck` only.
        first_dilation: Dilation of the first 3x3 convolution; None for the same as the others.
        shortcut_pool: Stride of a 2x2 mean pooling before the shortcut's projection, which then has
            no stride; 0 for no pooling.
        drop_path: Probability of dropping the residual branch, in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    group_width: int = 64
    first_dilation: int | None = None
    shortcut_pool: int = 0
    drop_path: float = 0.0
    expansion = 1

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), expansion * width]`."""
        y = self.residual(x, train)
        if self.stride > 1 or x.channels != y.channels:
            x = self._project(x, y.channels, train)
        if self.drop_path:
            y = DropPath(self.drop_path)(y, train)
        return activate(self.activation, add(x, y))

    def dilated_block(
        self, features: int, name: str, first: bool = False, **options
    ) -> ConvNormAct:
        """Return a 3x3 convolution, dilated where the block is."""
        dilation = (first and self.first_dilation) or self.dilation
        return self.conv_block(features, padding=dilation, dilation=dilation, name=name, **options)

    def residual(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Apply the residual branch."""
        y = self.dilated_block(self.width, "conv1", first=True, stride=self.stride)(x, train)
        return self.dilated_block(self.width, "conv2", activation=None)(y, train)

    def _project(self, x: FeatureMap, channels: int, train: bool) -> FeatureMap:
        """Project the shortcut to the result's shape."""
        stride = self.stride
        if self.shortcut_pool:
            # As timm: an odd last pixel is its own mean; without a stride, zeros count there.
            flat = self.shortcut_pool == 1
            x = mean_pool(x, 2, self.shortcut_pool, partial=True, count_outside=flat)
            stride = 1
        options = {"stride": stride, "activation": None, "name": "downsample"}
        return self.conv_block(channels, 1, **options)(x, train)


class Bottleneck(BasicBlock):
    """A 3x3 convolution between two 1x1 ones, with a residual connection.

    The stride is in the 3x3, as in torchvision ("ResNet v1.5"), not in the paper's first 1x1. The
    3x3 has `width * group_width / 64` channels in each of `groups` groups: several groups make a
    ResNeXt (Xie et al. 2017, arXiv:1611.05431), a group width of 128 a wide ResNet (Zagoruyko and
    Komodakis 2016, arXiv:1605.07146).
    """

    expansion = 4

    def residual(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Apply the residual branch."""
        inner = self.width * self.group_width // 64 * self.groups
        y = self.conv_block(inner, 1, name="conv1")(x, train)
        options = {"stride": self.stride, "groups": self.groups}
        y = self.dilated_block(inner, "conv2", first=True, **options)(y, train)
        return self.conv_block(4 * self.width, 1, name="conv3", activation=None)(y, train)


BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(ConvModule):
    """ResNet (He et al. 2016, arXiv:1512.03385), as torchvision, without its classifier.

    Submodules have torchvision's names, `layer1_0/conv1` with `conv` and `norm` below. With `deep`
    it is ResNet-D (He et al. 2019, arXiv:1812.01187), as timm: three 3x3 convolutions instead of
    the 7x7, and 2x2 mean pooling instead of the strides of the shortcuts.

    Attributes:
        depths: Blocks of each stage.
        block: A name in `BLOCKS`.
        output_stride: 32, or 16 or 8: deeper stages are dilated instead of strided.
        dilation_rule: By `torchvision` (and timm) the first 3x3 of a dilated stage keeps the
            dilation before it; by `smp` all 3x3 have the dilation of the stage. The two share
            weights, but not results.
        groups, group_width: As in `Bottleneck`.
        deep: Whether it is ResNet-D.
        drop_path: Probability of dropping the last block's residual branch, in training (Huang et
            al. 2016, arXiv:1603.09382); it rises linearly from 0 at the first block, as in timm.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    depths: tuple[int, ...]
    block: str
    output_stride: int = 32
    dilation_rule: str = "torchvision"
    groups: int = 1
    group_width: int = 64
    deep: bool = False
    drop_path: float = 0.0

    @property
    def strides(self) -> tuple[int, ...]:
        """2 (the stem before its pooling), 4, 8, 16, 32; none above the output stride."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the stem and of each stage."""
        return (64, *(width * BLOCKS[self.block].expansion for width in WIDTHS))

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        x = self._stem(x, train)
        features = [x]
        x = max_pool(x, kernel=3, stride=2, padding=1)
        previous = 1
        rates = drop_path_rates(self.drop_path, self.depths)
        for i, width in enumerate(WIDTHS, start=1):
            stride = 2 if i > 1 and self.strides[i] > self.strides[i - 1] else 1
            dilation = 2 ** (i + 1) // self.strides[i]
            options = {"groups": self.groups, "group_width": self.group_width, "dilation": dilation}
            options |= self.block_options
            first_dilation = previous if self.dilation_rule == "torchvision" else dilation
            shortcut_pool = stride if self.deep and i > 1 else 0
            first = {"first_dilation": first_dilation, "shortcut_pool": shortcut_pool}
            first["stride"] = stride
            for j, rate in enumerate(rates[i - 1]):
                dilations = (dilation, first_dilation) if j == 0 else (dilation,)
                # Strides and poolings need the plain map.
                plain = j == 0 and (stride > 1 or shortcut_pool)
                x = space_to_batch(x, 1 if plain else space_to_batch_factor(x, dilations, train))
                fields = {**options, "drop_path": rate, **(first if j == 0 else {})}
                x = BLOCKS[self.block](width, name=f"layer{i}_{j}", **fields)(x, train)
            previous = dilation
            features.append(space_to_batch(x, 1))
        return tuple(features)

    def _stem(self, x: FeatureMap, train: bool) -> FeatureMap:
        if not self.deep:
            return self.conv_block(64, 7, stride=2, padding=3, name="conv1")(x, train)
        for i, (width, stride) in enumerate(((32, 2), (32, 1), (64, 1)), start=1):
            x = self.conv_block(width, stride=stride, padding=1, name=f"conv1_{i}")(x, train)
        return x


_RESNET50 = functools.partial(ResNet, (3, 4, 6, 3), "bottleneck")
_RESNET101 = functools.partial(ResNet, (3, 4, 23, 3), "bottleneck")
RESNETS = {
    "resnet18": functools.partial(ResNet, (2, 2, 2, 2), "basic"),
    "resnet34": functools.partial(ResNet, (3, 4, 6, 3), "basic"),
}
RESNETS_V1_5 = {
    "resnet50": _RESNET50,
    "resnet101": _RESNET101,
    "resnet152": functools.partial(ResNet, (3, 8, 36, 3), "bottleneck"),
}
RESNEXTS = {
    "resnext50_32x4d": functools.partial(_RESNET50, groups=32, group_width=4),
    "resnext101_32x8d": functools.partial(_RESNET101, groups=32, group_width=8),
}
WIDE_RESNETS = {"wide_resnet50_2": functools.partial(_RESNET50, group_width=128)}
RESNETS_D = {
    "resnet26d": functools.partial(ResNet, (2, 2, 2, 2), "bottleneck", deep=True),
    "resnet50d": functools.partial(_RESNET50, deep=True),
}
