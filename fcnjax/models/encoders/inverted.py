"""Networks of inverted residuals: what MobileNets and EfficientNets share."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import ConvNormAct, DropPath, FeatureMap, SqueezeExcite, add
from fcnjax.models.layers.convolution.conv import tap_init
from fcnjax.models.layers.norm import EPSILON


@dataclass(frozen=True)
class Block:
    """A row of a network's table.

    Attributes:
        kernel: Side of the depthwise kernel.
        hidden: Channels of the depthwise convolution; no convolution expands to as many as given.
        width: Channels of the result.
        stride: Of the depthwise convolution.
        squeezed: Inner channels of the squeeze-and-excitation; 0: there is none.
        activation: A name in `ACTIVATIONS`.
    """

    kernel: int
    hidden: int
    width: int
    stride: int = 1
    squeezed: int = 0
    activation: str = "relu6"


def divisible(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `width`, and not below nine tenths of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def first_blocks(blocks: Sequence[Block]) -> list[int]:
    """Which block is the first at each stride below the stem's."""
    return [i for i, block in enumerate(blocks) if block.stride > 1]


def check_form(form: str, forms: Iterable[str]) -> None:
    """Raises ValueError where `form` is none of `forms`."""
    if form not in forms:
        raise ValueError(f"form {form!r} is none of {', '.join(forms)}")


class InvertedResidual(nn.Module):
    """Expands the channels, convolves each, and projects (Sandler et al. 2018, arXiv:1801.04381).

    A shortcut is added where the shape stays.

    Attributes:
        block: Its shape; where a network is dilated, `stride` takes the place of its stride.
        stride, dilation, padding: Of the depthwise convolution, as in `Conv`.
        squeeze_activation, gate: As `activation` and `gate` in `SqueezeExcite`.
        drop_path: Probability of leaving only the shortcut, in training.
        norm, epsilon, dtype: As in `ConvNormAct`.
    """

    block: Block
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] | None = None
    squeeze_activation: str = "relu"
    gate: str = "sigmoid"
    drop_path: float = 0.0
    norm: str = "batch"
    epsilon: float = EPSILON
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]`."""
        block, y = self.block, x
        if block.hidden != x.channels:
            y = self._conv(block.hidden, "expand", kernel=1)(y, train)
        wide = {"stride": self.stride, "dilation": self.dilation, "groups": block.hidden}
        padding = (block.kernel - 1) * self.dilation // 2 if self.padding is None else self.padding
        wide |= {"kernel": block.kernel, "padding": padding}
        y = self._conv(block.hidden, "depthwise", **wide)(y, train)
        if block.squeezed:
            squeeze = (block.squeezed, self.squeeze_activation, self.gate, self.dtype)
            y = SqueezeExcite(*squeeze, name="squeeze")(y)
        y = self._conv(block.width, "project", kernel=1, activation=None)(y, train)
        # A block keeps its shape even where its stride became a dilation.
        if block.stride > 1 or block.width != x.channels:
            return y
        return add(x, DropPath(self.drop_path)(y, train))

    def _conv(self, features: int, name: str, **options) -> ConvNormAct:
        options = {"activation": self.block.activation, **options}
        common = {"norm": self.norm, "epsilon": self.epsilon, "dtype": self.dtype}
        return ConvNormAct(features, kernel_init=tap_init, name=name, **common, **options)


class InvertedNet(nn.Module):
    """A stem, inverted residuals, and a last convolution where the network has one.

    Attributes:
        stem: Channels of the first convolution, 3x3 with stride 2.
        blocks: The table; their strides multiply to 16.
        last: Channels of a 1x1 convolution after them; 0: there is none.
        activation: A name in `ACTIVATIONS`, of the stem and the last convolution.
        squeeze_activation, gate: As `activation` and `gate` in `SqueezeExcite`.
        drop_path: Probability of dropping the branch of a block, in training: 0 at the first, and
            rising by equal steps to what would be given after the last.
        norm, epsilon, dtype: As in `ConvNormAct`.
        output_stride: 32, or 16 or 8: later blocks are dilated in place of strided.
        dilation_rule: A name in `DILATION_RULES` of `resnet.py`.
        dilated_from: The block from which on the blocks are dilated in place of stride 32; None:
            the first at that stride.
        taps: The block whose result is the feature, for each stride; -1 is the stem. None: the last
            block of each stride, as timm.
        static_side: Pads what is strided as TensorFlow would for square images of this side, for
            images of all sizes, as smp's EfficientNets, whose odd sizes may then round down; None:
            by equal padding, as torch.
    """

    stem: int
    blocks: tuple[Block, ...]
    last: int = 0
    activation: str = "relu6"
    squeeze_activation: str = "relu"
    gate: str = "sigmoid"
    drop_path: float = 0.0
    norm: str = "batch"
    epsilon: float = EPSILON
    dtype: jnp.dtype = jnp.float32
    output_stride: int = 32
    dilation_rule: str = "torchvision"
    dilated_from: int | None = None
    taps: tuple[int, ...] | None = None
    static_side: int | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """2, 4, 8, 16, 32; none above the output stride."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the feature at each stride."""
        widths = [self.stem if i < 0 else self.blocks[i].width for i in self._tapped()]
        return (*widths[:-1], self.last or widths[-1])

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        common = {"norm": self.norm, "epsilon": self.epsilon, "dtype": self.dtype}
        conv = {"activation": self.activation, "kernel_init": tap_init, **common}
        common |= {"squeeze_activation": self.squeeze_activation, "gate": self.gate}
        side = self.static_side
        padding = 1 if side is None else _static_padding(3, 2, side)
        x = ConvNormAct(self.stem, stride=2, padding=padding, name="stem", **conv)(x, train)
        # As timm: how many blocks lie before it, of all.
        rates = [self.drop_path * i / len(self.blocks) for i in range(len(self.blocks))]
        results = {-1: x}
        for i, (block, shape) in enumerate(zip(self.blocks, self._shapes(), strict=True)):
            name = f"block{i}"
            x = InvertedResidual(block, drop_path=rates[i], name=name, **common, **shape)(x, train)
            results[i] = x
        features = [results[i] for i in self._tapped()]
        if self.last:
            features[-1] = ConvNormAct(self.last, kernel=1, name="last", **conv)(x, train)
        return tuple(features)

    def _tapped(self) -> tuple[int, ...]:
        """The block of each feature; -1 is the stem."""
        if self.taps is not None:
            return self.taps
        before = (i - 1 for i in first_blocks(self.blocks))
        return (*before, len(self.blocks) - 1)

    def _shapes(self) -> Iterator[dict[str, int | tuple[int, int] | None]]:
        """Stride, dilation and padding of each block."""
        starts, dilation = first_blocks(self.blocks), 1
        if self.dilated_from is not None:
            starts[-1] = self.dilated_from
        side = None if self.static_side is None else -(-self.static_side // 2)
        for i, block in enumerate(self.blocks):
            reached = 2 ** (1 + sum(start <= i for start in starts))
            stride = block.stride if reached <= self.output_stride else 1
            before, dilation = dilation, max(reached // self.output_stride, 1)
            first = before if self.dilation_rule == "torchvision" else dilation
            padding = None
            if side is not None:
                padding = _static_padding(block.kernel, stride, side) if stride > 1 else None
                side = -(-side // block.stride)
            yield {"stride": stride, "dilation": first, "padding": padding}


def _static_padding(kernel: int, stride: int, side: int) -> tuple[int, int]:
    """Zeros before and after, for a result of `ceil(side / stride)`."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
