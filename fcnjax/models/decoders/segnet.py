"""SegNet: upsampling by max unpooling."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Decoder, Names
from fcnjax.models.layers import FeatureMap, SpatialDropout, unpool_like


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
    def fields(
        cls, encoder: nn.Module, out_channels: int, names: Names, **options: Any
    ) -> dict[str, Any]:
        """Return the fields.

        Raises:
            UserError: The encoder does not have 2x2 max poolings between its features.
        """
        stages = getattr(encoder, "pooled_stages", None)
        if stages is None:
            raise UserError(
                f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs 2x2 "
                "max poolings between features, as in VGG, and in vanilla with "
                "config.model.downsample=max_pool"
            )
        return super().fields(encoder, out_channels, names, stages=stages, **options)

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
