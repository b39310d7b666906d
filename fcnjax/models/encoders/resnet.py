"""ResNet."""

import functools
from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import ACTIVATIONS, ConvNormAct, FeatureMap, add, map_data, max_pool

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Attributes:
        width: Channels of the convolutions; the result has `expansion` times as many.
        stride: Of the first convolution.
        dilation: Of the 3x3 convolutions.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int
    stride: int = 1
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    dilation: int = 1
    expansion = 1

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), expansion * width]`."""
        return self.finish(x, self.residual(x, train), train)

    def conv(self, features: int, name: str, **options) -> ConvNormAct:
        """A convolution with this block's norm and dtype."""
        options = {"activation": self.activation, **options}
        return ConvNormAct(features, norm=self.norm, dtype=self.dtype, name=name, **options)

    def wide(self, features: int, name: str, **options) -> ConvNormAct:
        """A 3x3 convolution, dilated where the block is."""
        return self.conv(features, name, padding=self.dilation, dilation=self.dilation, **options)

    def residual(self, x: FeatureMap, train: bool) -> FeatureMap:
        """What is added to the shortcut."""
        y = self.wide(self.width, "conv1", stride=self.stride)(x, train)
        return self.wide(self.width, "conv2", activation=None)(y, train)

    def finish(self, x: FeatureMap, y: FeatureMap, train: bool) -> FeatureMap:
        """Adds the shortcut, projected where the shape changes, and activates."""
        if self.stride > 1 or x.channels != y.channels:
            project = self.conv(
                y.channels, "downsample", kernel=1, stride=self.stride, activation=None
            )
            x = project(x, train)
        return map_data(ACTIVATIONS[self.activation], add(x, y))


class Bottleneck(BasicBlock):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut.

    The stride is in the 3x3, as in torchvision ("ResNet v1.5"), not in the paper's first 1x1.
    """

    expansion = 4

    def residual(self, x: FeatureMap, train: bool) -> FeatureMap:
        """What is added to the shortcut."""
        y = self.conv(self.width, "conv1", kernel=1)(x, train)
        y = self.wide(self.width, "conv2", stride=self.stride)(y, train)
        return self.conv(4 * self.width, "conv3", kernel=1, activation=None)(y, train)


BLOCKS = MappingProxyType({"basic": BasicBlock, "bottleneck": Bottleneck})
OUTPUT_STRIDES = (8, 16, 32)
DILATION_RULES = MappingProxyType(
    {
        "torchvision": "the first block of a dilated stage keeps the dilation before it",
        "smp": "all blocks of a dilated stage have its dilation",
    }
)


class ResNet(nn.Module):
    """ResNet (He et al. 2016, arXiv:1512.03385), as torchvision, without its classifier.

    Submodules are named as torchvision's, `layer1_0/conv1` with `conv` and `norm` below.

    Attributes:
        depths: Blocks of each stage.
        block: A name in `BLOCKS`.
        norm, activation, dtype: As in `ConvNormAct`.
        output_stride: 32, or 16 or 8: later stages are dilated in place of strided.
        dilation_rule: A name in `DILATION_RULES`; their weights are alike, their results not.
    """

    depths: tuple[int, ...]
    block: str
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    output_stride: int = 32
    dilation_rule: str = "torchvision"

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
        x = ConvNormAct(64, kernel=7, stride=2, padding=3, name="conv1", **common)(x, train)
        features = [x]
        x = max_pool(x, kernel=3, stride=2, padding=1)
        previous = 1
        for i, (depth, width) in enumerate(zip(self.depths, WIDTHS, strict=True), start=1):
            strided = i > 1 and self.strides[i] > self.strides[i - 1]
            dilation = 2 ** (i + 1) // self.strides[i]
            for j in range(depth):
                late = j == 0 and self.dilation_rule == "torchvision"
                block = BLOCKS[self.block](
                    width,
                    2 if strided and j == 0 else 1,
                    dilation=previous if late else dilation,
                    name=f"layer{i}_{j}",
                    **common,
                )
                x = block(x, train)
            previous = dilation
            features.append(x)
        return tuple(features)


ResNet18 = functools.partial(ResNet, (2, 2, 2, 2), "basic")
ResNet34 = functools.partial(ResNet, (3, 4, 6, 3), "basic")
ResNet50 = functools.partial(ResNet, (3, 4, 6, 3), "bottleneck")
