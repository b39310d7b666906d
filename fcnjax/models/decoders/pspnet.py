"""PSPNet."""

from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder
from fcnjax.models.layers import (
    FeatureMap,
    SpatialDropout,
    adaptive_mean,
    concat,
    resize_corners_like,
)

BINS = (1, 2, 3, 6)
STRIDE = 8


class PSPNet(Decoder):
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105), as segmentation_models.pytorch 0.6.

    It reads the deepest feature at stride 8. That is the last one of an encoder with output stride
    8, as in the paper, and the third stage of others, as in segmentation_models.pytorch, where the
    deeper stages are not used.

    Attributes:
        width: Channels of the result.
        align_corners: How the logits are resized to the image.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = 512
    align_corners: bool = True
    dropout: float = 0.2
    stride = STRIDE
    head_kernel = 3

    @staticmethod
    def unmet_requirement(strides: Sequence[int]) -> str | None:
        """Return the requirement that an encoder of these strides fails, as a clause, or None."""
        return None if STRIDE in strides else f"reads the feature at stride {STRIDE}"

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of the feature read."""
        x = features[max(i for i, stride in enumerate(self.strides) if stride == STRIDE)]
        width = max(x.channels // len(BINS), 1)
        branches = []
        for bins in BINS:
            # One pixel an image is too few for batch statistics; torch raises an error.
            norm = "none" if bins == 1 else self.norm
            conv = self.conv_block(width, 1, norm=norm, name=f"pool{bins}")
            branches.append(resize_corners_like(conv(adaptive_mean(x, bins), train), x))
        merge = self.conv_block(self.width, 1, name="merge")
        return SpatialDropout(self.dropout)(merge(concat([*branches, x]), train), train)
