"""Decoders that mirror their encoder: SegNet and FC-DenseNet."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Context, Decoder, Fields, Widths, check_count
from fcnjax.models.encoders.densenet import DROPOUT, DenseBlock, FCDenseNet
from fcnjax.models.layers import (
    Conv,
    ConvTranspose3x3,
    FeatureMap,
    SpatialDropout,
    concat,
    crop_or_pad_like,
    unpool_like,
)

# The defaults over other encoders, those of FC-DenseNet67.
DEPTH, GROWTH = 5, 16


class SegNet(Decoder):
    """The decoder of SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561), after its Caffe model.

    It mirrors its encoder. Each step unpools to the positions of the encoder's maxima, and applies
    as many 3x3 convolutions as the encoder has there, the last of them to the channels of the next
    shallower stage. At full resolution the segmenter's head, 3x3 too, is the last one. Over VGG16
    that makes 26 convolutions.

    Attributes:
        stages: `pooled_stages` of the encoder.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    stages: tuple[tuple[int, ...], ...]
    dropout: float = 0.0
    head_kernel = 3

    @classmethod
    def fields(cls, context: Context, **options: Any) -> Fields:
        """Return the fields.

        Raises:
            UserError: The encoder does not have 2x2 max poolings between its features.
        """
        encoder, _, names = context
        stages = getattr(encoder, "pooled_stages", None)
        if stages is None:
            raise UserError(
                f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs 2x2 "
                "max poolings between features, as in VGG, and in vanilla with "
                "config.model.downsample=max_pool"
            )
        return {"stages": stages, **options}

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, H, W, C]`, of the size of its shallowest feature."""
        x = features[-1]
        for stage in range(len(self.stages), 0, -1):
            if stage < len(self.stages):
                x = unpool_like(x, features[stage - 1])
            for j, width in enumerate(mirrored_widths(self.stages, stage), start=1):
                x = self.conv_block(width, name=f"stage{stage}_conv{j}")(x, train)
        return SpatialDropout(self.dropout)(x, train)


def mirrored_widths(stages: tuple[tuple[int, ...], ...], stage: int) -> tuple[int, ...]:
    """Return the channels of the decoder's convolutions at a stage, counted from 1.

    They are the encoder's reversed: 64, 128, 128 mirrors 64 -> 128 -> 128 to 128, 64. The first
    stage, which the head follows, has one convolution less.
    """
    widths = stages[stage - 1]
    shallower = stages[stage - 2][-1:] if stage > 1 and widths else ()
    return (*reversed(widths[:-1]), *shallower)


class FCDenseNetUp(Decoder):
    """The upsampling path of FC-DenseNet (Jegou et al. 2017, arXiv:1611.09326).

    Each step doubles the size by a transposed convolution, concatenates the skip, and applies a
    dense block. The next step reads only the channels that the block added; the last step also
    returns the block's input. The first step reads all of the deepest feature, which in an
    `FCDenseNet` is what the bottleneck added.

    Attributes:
        depths: Layers of each dense block, deep to shallow.
        width: Channels of the first transposed convolution; the others keep their input's.
        growth: Channels that a layer adds.
        dropout: Probability of dropping a value after each convolution in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    depths: tuple[int, ...]
    width: int
    growth: int = GROWTH
    dropout: float = DROPOUT

    @classmethod
    def fields(
        cls,
        context: Context,
        *,
        depths: Widths | None = None,
        growth: int | None = None,
        **options: Any,
    ) -> Fields:
        """Return the fields; by default the depths and growth of an `FCDenseNet`, or 5 and 16.

        Raises:
            UserError: Not one depth for each skip.
        """
        encoder, _, names = context
        mirrors = isinstance(encoder, FCDenseNet)
        count = len(encoder.strides) - 1
        default = tuple(reversed(encoder.depths[:-1])) if mirrors else (DEPTH,) * count
        depths = default if depths is None else depths
        check_count("decoder_depths", depths, default, names)
        if growth is None:
            growth = encoder.growth if mirrors else GROWTH
        # The paper's transposed convolutions keep the channels, too many over a wide feature.
        width = encoder.channels[-1] if mirrors else growth * DEPTH
        options |= {"depths": depths, "width": width, "growth": growth}
        return options

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[0]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, C]`, of the size of its shallowest feature."""
        options = {"dropout": self.dropout, **self.block_options}
        new, x, width = features[-1], features[-1], self.width
        levels = reversed(range(len(features) - 1))
        for i, (level, depth) in enumerate(zip(levels, self.depths, strict=True), start=1):
            skip = features[level]
            doubles = self.strides[level] < self.strides[level + 1]
            # Neighbouring features of a dilated encoder may have the same size.
            enlarge = ConvTranspose3x3 if doubles else Conv
            up = enlarge(width, dtype=self.dtype, name=f"up{i}")(new)
            x = concat([crop_or_pad_like(up, skip), skip])
            new = DenseBlock(depth, self.growth, name=f"block{i}", **options)(x, train)
            width = new.channels
            x = concat([x, new])
        return x
