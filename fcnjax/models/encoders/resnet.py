"""ResNet."""

import functools
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers import (
    ConvNormAct,
    DropPath,
    FeatureMap,
    activated,
    add,
    batch_factor_of,
    max_pool,
    mean_pool,
    space_to_batch,
)

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Attributes:
        width: Channels of the convolutions; the result has `expansion` times as many.
        stride: Of the first convolution.
        dilation: Of the 3x3 convolutions.
        norm, activation, dtype: As in `ConvNormAct`.
        groups, group_width: Of `Bottleneck` alone.
        first_dilation: Of the first 3x3 convolution; None: as the others.
        shortcut_pool: Step of a mean over 2x2 pixels before the shortcut's projection, which then
            has no stride; 0: no mean.
        drop_path: Probability of leaving only the shortcut, in training.
    """

    width: int
    stride: int = 1
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    dilation: int = 1
    groups: int = 1
    group_width: int = 64
    first_dilation: int | None = None
    shortcut_pool: int = 0
    drop_path: float = 0.0
    expansion = 1

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), expansion * width]`."""
        return self.finish(x, self.residual(x, train), train)

    def conv(self, features: int, name: str, **options) -> ConvNormAct:
        """A convolution with this block's norm and dtype."""
        options = {"activation": self.activation, **options}
        return ConvNormAct(features, norm=self.norm, dtype=self.dtype, name=name, **options)

    def wide(self, features: int, name: str, first: bool = False, **options) -> ConvNormAct:
        """A 3x3 convolution, dilated where the block is."""
        dilation = (first and self.first_dilation) or self.dilation
        return self.conv(features, name, padding=dilation, dilation=dilation, **options)

    def residual(self, x: FeatureMap, train: bool) -> FeatureMap:
        """What is added to the shortcut."""
        y = self.wide(self.width, "conv1", first=True, stride=self.stride)(x, train)
        return self.wide(self.width, "conv2", activation=None)(y, train)

    def finish(self, x: FeatureMap, y: FeatureMap, train: bool) -> FeatureMap:
        """Adds the shortcut, projected where the shape changes, and activates."""
        if self.stride > 1 or x.channels != y.channels:
            stride = self.stride
            if self.shortcut_pool:
                # As timm: an odd last pixel is its own mean; without a stride zeros count there.
                flat = self.shortcut_pool == 1
                x = mean_pool(x, 2, self.shortcut_pool, partial=True, count_outside=flat)
                stride = 1
            project = self.conv(y.channels, "downsample", kernel=1, stride=stride, activation=None)
            x = project(x, train)
        if self.drop_path:
            y = DropPath(self.drop_path)(y, train)
        return activated(self.activation, add(x, y))


class Bottleneck(BasicBlock):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut.

    The stride is in the 3x3, as in torchvision ("ResNet v1.5"), not in the paper's first 1x1. The
    3x3 has `width * group_width / 64` channels in each of `groups` groups: more than one is ResNeXt
    (Xie et al. 2017, arXiv:1611.05431), a group of 128 the wide ResNet (Zagoruyko and Komodakis
    2016, arXiv:1605.07146).
    """

    expansion = 4

    def residual(self, x: FeatureMap, train: bool) -> FeatureMap:
        """What is added to the shortcut."""
        inner = self.width * self.group_width // 64 * self.groups
        y = self.conv(inner, "conv1", kernel=1)(x, train)
        wide = self.wide(inner, "conv2", first=True, stride=self.stride, groups=self.groups)
        y = wide(y, train)
        return self.conv(4 * self.width, "conv3", kernel=1, activation=None)(y, train)


BLOCKS = MappingProxyType({"basic": BasicBlock, "bottleneck": Bottleneck})
DILATION_RULES = MappingProxyType(
    {
        "torchvision": "a dilated stage's first 3x3 keeps the dilation before it; timm's too",
        "smp": "all 3x3 of a dilated stage have its dilation",
    }
)


class ResNet(nn.Module):
    """ResNet (He et al. 2016, arXiv:1512.03385), as torchvision, without its classifier.

    Submodules are named as torchvision's, `layer1_0/conv1` with `conv` and `norm` below. A `deep`
    one is ResNet-D (He et al. 2019, arXiv:1812.01187), as timm: three 3x3 convolutions in place of
    the 7x7, and means over 2x2 pixels in place of the strides of the shortcuts.

    Attributes:
        depths: Blocks of each stage.
        block: A name in `BLOCKS`.
        norm, activation, dtype: As in `ConvNormAct`.
        output_stride: 32, or 16 or 8: later stages are dilated in place of strided.
        dilation_rule: A name in `DILATION_RULES`; their weights are alike, their results not.
        groups, group_width: As in `Bottleneck`.
        deep: Whether it is ResNet-D.
        drop_path: Probability of dropping the last block's residual, in training (Huang et al.
            2016, arXiv:1603.09382); it rises from 0 at the first block in equal steps, as timm's.
    """

    depths: tuple[int, ...]
    block: str
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
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
        """Of the stem and of each stage."""
        return (64, *(width * BLOCKS[self.block].expansion for width in WIDTHS))

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        common = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        x = self._stem(x, train, common)
        common |= {"groups": self.groups, "group_width": self.group_width}
        features = [x]
        x = max_pool(x, kernel=3, stride=2, padding=1)
        previous = 1
        rates = iter(np.linspace(0, self.drop_path, sum(self.depths)).tolist())
        for i, (depth, width) in enumerate(zip(self.depths, WIDTHS, strict=True), start=1):
            strided = i > 1 and self.strides[i] > self.strides[i - 1]
            dilation = 2 ** (i + 1) // self.strides[i]
            step = 2 if strided else 1
            first = {
                "stride": step,
                "first_dilation": previous if self.dilation_rule == "torchvision" else dilation,
                "shortcut_pool": step if self.deep and i > 1 else 0,
            }
            for j in range(depth):
                options = common | (first if j == 0 else {})
                whole = j == 0 and (step > 1 or first["shortcut_pool"])
                dilations = (dilation, first["first_dilation"]) if j == 0 else (dilation,)
                x = space_to_batch(x, 1 if whole else batch_factor_of(x, dilations, train))
                block = BLOCKS[self.block](
                    width, dilation=dilation, drop_path=next(rates), name=f"layer{i}_{j}", **options
                )
                x = block(x, train)
            previous = dilation
            features.append(space_to_batch(x, 1))
        return tuple(features)

    def _stem(self, x: FeatureMap, train: bool, common: dict) -> FeatureMap:
        if not self.deep:
            return ConvNormAct(64, kernel=7, stride=2, padding=3, name="conv1", **common)(x, train)
        for i, (width, stride) in enumerate(((32, 2), (32, 1), (64, 1)), start=1):
            x = ConvNormAct(width, stride=stride, padding=1, name=f"conv1_{i}", **common)(x, train)
        return x


ResNet18 = functools.partial(ResNet, (2, 2, 2, 2), "basic")
ResNet34 = functools.partial(ResNet, (3, 4, 6, 3), "basic")
ResNet50 = functools.partial(ResNet, (3, 4, 6, 3), "bottleneck")
ResNet101 = functools.partial(ResNet, (3, 4, 23, 3), "bottleneck")
ResNet152 = functools.partial(ResNet, (3, 8, 36, 3), "bottleneck")
ResNeXt50 = functools.partial(ResNet50, groups=32, group_width=4)
ResNeXt101 = functools.partial(ResNet101, groups=32, group_width=8)
WideResNet50 = functools.partial(ResNet50, group_width=128)
ResNet26D = functools.partial(ResNet, (2, 2, 2, 2), "bottleneck", deep=True)
ResNet50D = functools.partial(ResNet50, deep=True)
