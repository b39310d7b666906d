"""MobileNetV2 of any size, with TensorFlow's padding."""

import functools
from collections.abc import Iterator

from flax import linen as nn

from fcnjax.models.encoders.inverted import (
    Block,
    InvertedResidual,
    MobileModule,
    round_channels,
)
from fcnjax.models.encoders.mobilenet import V2_STAGES
from fcnjax.models.layers import FeatureMap, pad_like_tensorflow


class MobileNetV2(MobileModule):
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), as transformers, without a classifier.

    The features are the last block at each stride. Numbers of channels are rounded to a multiple of
    `divisor`, and not below nine tenths.

    Attributes:
        depth_multiplier: Factor of all numbers of channels.
        divisor: They are multiples of this.
        min_depth: The fewest channels.
        expansion: Channels of the depthwise convolutions, as a multiple of the block's input.
        expands_first: Whether the first block expands its channels too.
        tf_padding: Whether strided convolutions are padded as TensorFlow does, by the size of the
            image, or by one pixel at each edge, as torch.
        block_activation: A name in `ACTIVATIONS`, in the blocks.
        drop_path: Probability of dropping the branch of a block, in training. It rises linearly
            from 0 at the first block.
        output_stride: 32, or 16 or 8: deeper blocks are dilated instead of strided.
        epsilon: Added to the variance by the norms.
        norm, dtype: As in `ConvNormAct`.
    """

    depth_multiplier: float = 1.0
    divisor: int = 8
    min_depth: int = 8
    expansion: float = 6.0
    expands_first: bool = False
    tf_padding: bool = True
    block_activation: str = "relu6"
    drop_path: float = 0.0
    output_stride: int = 32
    epsilon: float = 1e-3

    @property
    def strides(self) -> tuple[int, ...]:
        """2, 4, 8, 16, 32; none above the output stride."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the feature at each stride."""
        blocks = [block for block, _ in self._blocks()]
        return tuple(blocks[i].width for i in _feature_blocks())

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        common = {"norm": self.norm, "activation": self.block_activation, "dtype": self.dtype}
        common["epsilon"] = self.epsilon
        stem = {"stride": 2, "activation": self.block_activation}
        if self.tf_padding:
            x, stem["padding"] = pad_like_tensorflow(x, kernel=3, stride=2), 0
        x = self.conv(self._width(32), "stem", **stem)(x, train)
        blocks, results = list(self._blocks()), []
        for i, (block, dilation) in enumerate(blocks):
            options = {"stride": block.stride, "dilation": dilation, "tf_padding": self.tf_padding}
            options |= {"drop_path": self.drop_path * i / len(blocks), **common}
            x = InvertedResidual(block, name=f"block{i}", **options)(x, train)
            results.append(x)
        return tuple(results[i] for i in _feature_blocks())

    def _blocks(self) -> Iterator[tuple[Block, int]]:
        """Yield the shape and the dilation of each block."""
        in_channels, reached, dilation = self._width(32), 2, 1
        for i, (channels, stride) in enumerate(_layers()):
            width = self._width(channels)
            is_dilated = reached == self.output_stride
            block_dilation = dilation
            if is_dilated:
                # The larger dilation begins with the next block.
                dilation, stride = dilation * stride, 1
            reached *= stride
            hidden = self._round(in_channels * self.expansion) if i else in_channels
            yield (
                Block(
                    3,
                    hidden,
                    width,
                    stride,
                    expand=i > 0 or self.expands_first,
                    residual=i > 0 and stride == 1 and width == in_channels,
                ),
                block_dilation,
            )
            in_channels = width

    def _width(self, channels: int) -> int:
        return self._round(channels * self.depth_multiplier)

    def _round(self, channels: float) -> int:
        return round_channels(round(channels), self.divisor, self.min_depth)


@functools.cache
def _layers() -> tuple[tuple[int, int], ...]:
    """Return the channels, without multiplier, and the stride of each block."""
    return tuple(
        (width, stride if i == 0 else 1)
        for _, width, depth, stride in V2_STAGES
        for i in range(depth)
    )


@functools.cache
def _feature_blocks() -> tuple[int, ...]:
    """Return the last block at each stride."""
    strided = [i for i, (_, stride) in enumerate(_layers()) if stride > 1]
    return (*(i - 1 for i in strided), len(_layers()) - 1)
