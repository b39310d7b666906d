"""SegNet: max pooling undone where its maxima were."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import ConvNormAct, FeatureMap, SpatialDropout, unpool_like


class SegNet(nn.Module):
    """The decoder of SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561), after its Caffe model.

    It mirrors its encoder. Each step places what it has where the encoder's max pooling found its
    maxima, and makes it dense by as many 3x3 convolutions as the encoder has there, the last of
    them to the channels of the next shallower stage. At full resolution the last one, 3x3 like the
    others, is the segmenter's head. Over VGG16 that makes 26 convolutions.

    Attributes:
        stages: `pooled_stages` of the encoder.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    stages: tuple[tuple[int, ...], ...]
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = 1
    scores = False
    head_kernel = 3

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, H, W, C]`, of the size of its shallowest feature."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        x = features[-1]
        for stage in range(len(self.stages), 0, -1):
            if stage < len(self.stages):
                x = unpool_like(x, features[stage - 1])
            for j, width in enumerate(mirrored_widths(self.stages, stage), start=1):
                x = ConvNormAct(width, name=f"stage{stage}_conv{j}", **block)(x, train)
        return SpatialDropout(self.dropout)(x, train)


def mirrored_widths(stages: tuple[tuple[int, ...], ...], stage: int) -> tuple[int, ...]:
    """Channels of the decoder's convolutions at a stage, counted from 1 as the encoder's.

    The encoder's backwards: 64, 128, 128 mirrors 64 -> 128 -> 128 to 128, 64. The first stage goes
    back to the image, or rather to the head, and so has one convolution less.
    """
    widths = stages[stage - 1]
    shallower = stages[stage - 2][-1:] if stage > 1 and widths else ()
    return (*reversed(widths[:-1]), *shallower)


def make_segnet(encoder: nn.Module, outputs: int, names: tuple[str, str], **options) -> SegNet:
    """Builds a `SegNet` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `SegNet`.

    Raises:
        UserError: The encoder's features are not linked by 2x2 max poolings.
    """
    del outputs
    stages = getattr(encoder, "pooled_stages", None)
    if stages is None:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it undoes 2x2 max "
            "poolings between features, as those of VGG and of vanilla with "
            f"config.model.downsample=max_pool, and {names[0]} goes down otherwise"
        )
    return SegNet(stages, **options)
