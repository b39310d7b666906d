"""SegFormer's decoder."""

import functools
from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, need_stride_and_deeper
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    SpatialDropout,
    concat,
    linear_init,
    resize_like,
)

STRIDE = 4


class SegFormer(Decoder):
    """The decoder of SegFormer (Xie et al. 2021, arXiv:2105.15203), as segmentation_models.pytorch.

    A linear layer projects each feature to the same width, all are resized to the feature at stride
    4, and a 1x1 convolution fuses them. A feature at stride 1 is not used.

    Attributes:
        width: Channels of the projections and of the result.
        dropout: Probability of dropping a channel of the result in training: 0.1 in the paper, 0 in
            segmentation_models.pytorch.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = 256
    dropout: float = 0.0
    stride = STRIDE
    align_corners = True
    unmet_requirement = staticmethod(functools.partial(need_stride_and_deeper, STRIDE))

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of its feature at stride 4."""
        used = [x for x, stride in zip(features, self.strides, strict=True) if stride > 1]
        like = features[self.strides.index(STRIDE)]
        levels = []
        for i, x in enumerate(reversed(used)):
            options = {"dtype": self.dtype, "kernel_init": linear_init, "name": f"project{i}"}
            levels.append(resize_like(Conv(self.width, 1, **options)(x), like))
        x = self.conv_block(self.width, 1, name="fuse")(concat(levels), train)
        return SpatialDropout(self.dropout)(x, train)
