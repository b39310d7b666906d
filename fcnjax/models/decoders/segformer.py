"""SegFormer's decoder."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import (
    Conv,
    ConvNormAct,
    FeatureMap,
    SpatialDropout,
    concat,
    linear_init,
    resize_like,
)

STRIDE = 4


class SegFormer(nn.Module):
    """The decoder of SegFormer (Xie et al. 2021, arXiv:2105.15203), as segmentation_models.pytorch.

    Each feature is projected to one width by a linear layer and brought to the size of the feature
    at stride 4; a 1x1 convolution fuses them. A feature at stride 1 is not used.

    Attributes:
        strides: Of the encoder's features, shallow to deep.
        width: Channels of the projections and of the result.
        dropout: The probability that a channel of the result is dropped in training; the paper has
            0.1, segmentation_models.pytorch none.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    width: int = 256
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = STRIDE
    scores = False
    align_corners = True

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, width]`, of the size of its feature at stride 4."""
        used = [x for x, stride in zip(features, self.strides, strict=True) if stride > 1]
        like = features[self.strides.index(STRIDE)]
        levels = []
        for i, x in enumerate(reversed(used)):
            project = {"dtype": self.dtype, "kernel_init": linear_init, "name": f"project{i}"}
            levels.append(resize_like(Conv(self.width, 1, **project)(x), like))
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        x = ConvNormAct(self.width, 1, name="fuse", **block)(concat(levels), train)
        return SpatialDropout(self.dropout)(x, train)


def make_segformer(
    encoder: nn.Module, outputs: int, names: tuple[str, str], **options
) -> SegFormer:
    """Builds a `SegFormer` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `SegFormer`.

    Raises:
        UserError: The encoder has no feature at stride 4, or none below it.
    """
    del outputs
    if STRIDE not in encoder.strides[:-1]:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs a "
            f"feature at stride {STRIDE} and a deeper one, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return SegFormer(tuple(encoder.strides), **options)
