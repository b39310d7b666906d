"""torchvision's FCN head, which also serves as the auxiliary head of any model."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import Conv, ConvNormAct, FeatureMap, dropout, map_data


class FCNHead(nn.Module):
    """A 3x3 convolution to a quarter of the channels, and the scores, as torchvision's `FCNHead`.

    Attributes:
        outputs: Number of scores for each pixel.
        strides: Of the encoder's features, shallow to deep.
        index: The feature read: -1 is the deepest; an auxiliary head reads the one above it.
        dropout: The probability that a value is dropped before the scores, in training.
        align_corners: Whether the scores are enlarged with the centres of corner pixels in place.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    outputs: int
    strides: tuple[int, ...]
    index: int = -1
    dropout: float = 0.1
    norm: str = "batch"
    activation: str = "relu"
    align_corners: bool = False
    dtype: jnp.dtype = jnp.float32
    scores = True

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[self.index]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to scores `[B, h, w, outputs]`, of the size of the feature read."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        x = features[self.index]
        x = ConvNormAct(max(x.channels // 4, 1), name="hidden", **block)(x, train)
        x = map_data(dropout(self.dropout, train), x)
        init = nn.initializers.lecun_normal()
        return Conv(self.outputs, 1, dtype=self.dtype, kernel_init=init, name="score")(x)


def make_fcn_head(
    encoder: nn.Module, outputs: int, names: tuple[str, str], index: int = -1, **options
) -> FCNHead:
    """Builds an `FCNHead` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Number of scores for each pixel.
        names: Of the encoder and of this decoder, for messages.
        index: As in `FCNHead`.
        **options: Other fields of `FCNHead`.

    Raises:
        UserError: The encoder has no such feature, or its features cover more than the image.
    """
    if getattr(encoder, "padding", "same") == "valid":
        raise UserError(
            "config.model.aux_head: with config.model.padding=valid the encoder's features cover "
            "more than the image, and an auxiliary head would stretch them over it"
        )
    if len(encoder.strides) < -index:
        raise UserError(
            f"config.model.aux_head: encoder {names[0]} gives {len(encoder.strides)} feature, and "
            "an auxiliary head reads the last but one"
        )
    return FCNHead(outputs, tuple(encoder.strides), index, **options)
