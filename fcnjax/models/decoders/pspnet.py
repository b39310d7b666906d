"""PSPNet."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import (
    ConvNormAct,
    FeatureMap,
    SpatialDropout,
    adaptive_mean,
    concat,
    resize_corners_like,
)

BINS = (1, 2, 3, 6)
STRIDE = 8


class PSPNet(nn.Module):
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105), as segmentation_models.pytorch 0.6.

    Reads the deepest feature at stride 8. Over an encoder with output stride 8 that is its last,
    as in the paper; over a plain one its third stage, as in segmentation_models.pytorch, and the
    stages below it are not used.

    Attributes:
        strides: Of the encoder's features, shallow to deep.
        width: Channels of the result.
        align_corners: How the scores are enlarged to the image.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    width: int = 512
    align_corners: bool = True
    dropout: float = 0.2
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = STRIDE
    scores = False
    head_kernel = 3

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, width]`, of the size of the feature read."""
        common = {"activation": self.activation, "dtype": self.dtype}
        x = features[max(i for i, stride in enumerate(self.strides) if stride == STRIDE)]
        width = max(x.channels // len(BINS), 1)
        branches = []
        for bins in BINS:
            # One pixel an image is too few for statistics; torch refuses it.
            norm = "none" if bins == 1 else self.norm
            conv = ConvNormAct(width, 1, norm=norm, name=f"pool{bins}", **common)
            branches.append(resize_corners_like(conv(adaptive_mean(x, bins), train), x))
        merge = ConvNormAct(self.width, 1, norm=self.norm, name="merge", **common)
        return SpatialDropout(self.dropout)(merge(concat([*branches, x]), train), train)


def make_pspnet(encoder: nn.Module, outputs: int, names: tuple[str, str], **options) -> PSPNet:
    """Builds a `PSPNet` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `PSPNet`.

    Raises:
        UserError: The encoder has no feature at stride 8.
    """
    del outputs
    if STRIDE not in encoder.strides:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it reads the "
            f"feature at stride {STRIDE}, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return PSPNet(tuple(encoder.strides), **options)
