"""Networks of inverted residuals, the base of MobileNets and EfficientNets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flax import linen as nn

from fcnjax.models.layers import (
    EPSILON,
    ConvModule,
    ConvNormAct,
    DropPath,
    FeatureMap,
    SqueezeExcite,
    add,
    he_normal_fan_in,
    pad_like_tensorflow,
)


@dataclass(frozen=True)
class Block:
    """The shape of an inverted residual.

    Attributes:
        kernel: Size of the depthwise kernel.
        hidden: Channels of the depthwise convolution.
        width: Channels of the result.
        stride: Stride of the depthwise convolution.
        squeeze: Inner channels of the squeeze-and-excitation; 0 for none.
        activation: A name in `ACTIVATIONS`.
        expand: Whether a convolution expands the channels; None for where they change.
        residual: Whether the input is added; None for where the shape stays the same.
    """

    kernel: int
    hidden: int
    width: int
    stride: int = 1
    squeeze: int = 0
    activation: str = "relu6"
    expand: bool | None = None
    residual: bool | None = None


def round_channels(width: float, divisor: int = 8, least: int | None = None) -> int:
    """Return the multiple of `divisor` nearest to `width`, and not below nine tenths of it.

    Args:
        width: The number to round.
        divisor: The divisor.
        least: A lower bound; None for the divisor.
    """
    nearest = int(width + divisor / 2) // divisor * divisor
    rounded = max(divisor if least is None else least, nearest)
    return rounded + divisor if rounded < 0.9 * width else rounded


def strided_blocks(blocks: Sequence[Block]) -> list[int]:
    """Return the indices of the blocks with a stride: the first at each stride below the stem's."""
    return [i for i, block in enumerate(blocks) if block.stride > 1]


class MobileModule(ConvModule, kw_only=True):
    """Base of modules of mobile networks; its fields are keyword-only.

    Attributes:
        norm, activation, epsilon, dtype: As in `ConvNormAct`.
    """

    activation: str = "relu6"
    epsilon: float = EPSILON

    def conv(self, features: int, name: str, **options: Any) -> ConvNormAct:
        """Return a convolution with this module's norm, activation and initialiser."""
        options = {"epsilon": self.epsilon, "kernel_init": he_normal_fan_in, **options}
        return self.conv_block(features, name=name, **options)


class _InvertedModule(MobileModule, kw_only=True):
    """Base of modules of inverted residuals; its fields are keyword-only.

    Attributes:
        norm, activation, epsilon, dtype: As in `ConvNormAct`.
        squeeze_activation, gate: As `activation` and `gate` in `SqueezeExcite`.
    """

    squeeze_activation: str = "relu"
    gate: str = "sigmoid"


class InvertedResidual(_InvertedModule):
    """Expand the channels, convolve each, and project (Sandler et al. 2018, arXiv:1801.04381).

    Attributes:
        block: Its shape; in a dilated network, `stride` replaces its stride.
        stride, dilation, padding: Of the depthwise convolution, as in `Conv`.
        tf_padding: Whether a strided depthwise convolution is padded as TensorFlow does.
        drop_path: Probability of dropping the residual branch, in training.
        norm, activation, epsilon, dtype: As in `ConvNormAct`.
        squeeze_activation, gate: As `activation` and `gate` in `SqueezeExcite`.
    """

    block: Block
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] | None = None
    drop_path: float = 0.0
    tf_padding: bool = False

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]`."""
        block, y = self.block, x
        if block.hidden != x.channels if block.expand is None else block.expand:
            y = self.conv(block.hidden, "expand", kernel=1)(y, train)
        padding = (block.kernel - 1) * self.dilation // 2 if self.padding is None else self.padding
        options = {"stride": self.stride, "dilation": self.dilation, "groups": block.hidden}
        options |= {"kernel": block.kernel, "padding": padding}
        if self.tf_padding and self.stride > 1:
            y = pad_like_tensorflow(y, block.kernel, self.stride)
            options["padding"] = 0
        y = self.conv(block.hidden, "depthwise", **options)(y, train)
        if block.squeeze:
            options = (block.squeeze, self.squeeze_activation, self.gate, self.dtype)
            y = SqueezeExcite(*options, name="squeeze")(y)
        y = self.conv(block.width, "project", kernel=1, activation=None)(y, train)
        # Where a stride became a dilation, there is no residual connection either.
        keeps_shape = block.stride == 1 and block.width == x.channels
        if not (keeps_shape if block.residual is None else block.residual):
            return y
        return add(x, DropPath(self.drop_path)(y, train))


class InvertedNet(_InvertedModule):
    """A stem, inverted residuals, and in some networks a last convolution.

    Attributes:
        stem: Channels of the first convolution, 3x3 with stride 2.
        blocks: The inverted residuals; their strides multiply to 16.
        last: Channels of a 1x1 convolution after them; 0 for none.
        activation: A name in `ACTIVATIONS`, of the stem and the last convolution.
        drop_path: Probability of dropping the branch of a block, in training. It rises linearly
            from 0 at the first block, and would reach this value one block after the last.
        output_stride: 32, or 16 or 8: deeper blocks are dilated instead of strided.
        dilation_rule: As of `ResNet`.
        dilated_from: The first block that is dilated instead of at stride 32; None for the first at
            that stride.
        feature_blocks: The block that returns the feature of each stride; -1 is the stem. None for
            the last block of each stride, as timm.
        tf_padding_size: Pad strided convolutions as TensorFlow would for square images of this
            side, whatever the image's size, as smp's EfficientNets, which may then round odd sizes
            down; None for symmetric padding, as torch.
        norm, epsilon, dtype: As in `ConvNormAct`.
        squeeze_activation, gate: As `activation` and `gate` in `SqueezeExcite`.
    """

    stem: int
    blocks: tuple[Block, ...]
    last: int = 0
    drop_path: float = 0.0
    output_stride: int = 32
    dilation_rule: str = "torchvision"
    dilated_from: int | None = None
    feature_blocks: tuple[int, ...] | None = None
    tf_padding_size: int | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """2, 4, 8, 16, 32; none above the output stride."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the feature at each stride."""
        widths = [self.stem if i < 0 else self.blocks[i].width for i in self._feature_blocks()]
        return (*widths[:-1], self.last or widths[-1])

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        side = self.tf_padding_size
        padding = 1 if side is None else _tf_padding(3, 2, side)
        x = self.conv(self.stem, "stem", stride=2, padding=padding)(x, train)
        common = {**self.block_options, "epsilon": self.epsilon}
        common |= {"squeeze_activation": self.squeeze_activation, "gate": self.gate}
        results = {-1: x}
        for i, (block, shape) in enumerate(zip(self.blocks, self._shapes(), strict=True)):
            options = {**common, "activation": block.activation, **shape}
            # The rate, as in timm, is in proportion to the number of blocks before.
            options["drop_path"] = self.drop_path * i / len(self.blocks)
            x = InvertedResidual(block, name=f"block{i}", **options)(x, train)
            results[i] = x
        features = [results[i] for i in self._feature_blocks()]
        if self.last:
            features[-1] = self.conv(self.last, "last", kernel=1)(x, train)
        return tuple(features)

    def _feature_blocks(self) -> tuple[int, ...]:
        """Return the block of each feature; -1 is the stem."""
        if self.feature_blocks is not None:
            return self.feature_blocks
        before = (i - 1 for i in strided_blocks(self.blocks))
        return (*before, len(self.blocks) - 1)

    def _shapes(self) -> Iterator[dict[str, int | tuple[int, int] | None]]:
        """Yield the stride, dilation and padding of each block."""
        starts, dilation = strided_blocks(self.blocks), 1
        if self.dilated_from is not None:
            starts[-1] = self.dilated_from
        side = None if self.tf_padding_size is None else -(-self.tf_padding_size // 2)
        for i, block in enumerate(self.blocks):
            reached = 2 ** (1 + sum(start <= i for start in starts))
            stride = block.stride if reached <= self.output_stride else 1
            before, dilation = dilation, max(reached // self.output_stride, 1)
            first = before if self.dilation_rule == "torchvision" else dilation
            padding = None
            if side is not None:
                padding = _tf_padding(block.kernel, stride, side) if stride > 1 else None
                side = -(-side // block.stride)
            yield {"stride": stride, "dilation": first, "padding": padding}


def _tf_padding(kernel: int, stride: int, side: int) -> tuple[int, int]:
    """Return the zeros before and after, for a result of `ceil(side / stride)`."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
