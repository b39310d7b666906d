"""Light decoders of few convolutions: SegFormer and LR-ASPP."""

import functools
from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, need_stride_and_deeper
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    ResizedMaps,
    SpatialDropout,
    add,
    global_mean,
    lecun_normal,
    linear_init,
    map_data,
    resize_like,
)

SEGFORMER_STRIDE = 4
LRASPP_STRIDE = 8


class SegFormer(Decoder):
    """The decoder of SegFormer (Xie et al. 2021, arXiv:2105.15203), as segmentation_models.pytorch.

    A linear layer projects each feature to the same width, all are resized to the feature at stride
    4, and a 1x1 convolution fuses them. A feature at stride 1 is not used.

    Attributes:
        width: Channels of the projections and of the result.
        dropout: Probability of dropping a channel of the result in training: 0.1 in the paper, 0 in
            segmentation_models.pytorch.
        align_corners: How the logits are resized to the image: aligned in
            segmentation_models.pytorch, and not in the paper and in transformers.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = 256
    dropout: float = 0.0
    align_corners: bool = True
    stride = SEGFORMER_STRIDE
    unmet_requirement = staticmethod(functools.partial(need_stride_and_deeper, SEGFORMER_STRIDE))

    @property
    def resized_once(self) -> bool:
        """True as in transformers, which does not align corners; smp enlarges to the input."""
        return not self.align_corners

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of its feature at stride 4."""
        used = [pair for pair in zip(self.strides, features, strict=True) if pair[0] > 1]
        like = features[self.strides.index(SEGFORMER_STRIDE)]
        levels = []
        for i, (stride, x) in enumerate(reversed(used)):
            options = {"dtype": self.dtype, "kernel_init": linear_init, "name": f"project{i}"}
            x = Conv(self.width, 1, **options)(x)
            levels.append(x if stride >= SEGFORMER_STRIDE else resize_like(x, like))
        x = self.conv_block(self.width, 1, name="fuse")(ResizedMaps(levels, like), train)
        return SpatialDropout(self.dropout)(x, train)


class LRASPP(Decoder):
    """Lite reduced ASPP (Howard et al. 2019, arXiv:1905.02244), as torchvision.

    The deepest feature, projected and gated by the mean of the image, is resized to the first
    feature at stride 8. The result is the sum of the logits of the two.

    Attributes:
        out_channels: Logits for each pixel.
        width: Channels that the deepest feature is projected to.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    out_channels: int
    width: int = 128
    stride = LRASPP_STRIDE
    returns_logits = True
    unmet_requirement = staticmethod(functools.partial(need_stride_and_deeper, LRASPP_STRIDE))

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, out_channels]`, of the size of the stride 8 feature."""
        low, high = features[self.strides.index(LRASPP_STRIDE)], features[-1]
        projected = self.conv_block(self.width, 1, name="project")(high, train)
        mean = FeatureMap(global_mean(high)[:, None, None])
        gate = Conv(self.width, 1, use_bias=False, dtype=self.dtype, name="gate")(mean)
        weights = nn.sigmoid(gate.data)
        gated = map_data(lambda data: data * weights, projected)
        options = {"kernel_init": lecun_normal, "dtype": self.dtype}
        # Scored before it is resized, which gives the same and multiplies less.
        high = resize_like(Conv(self.out_channels, 1, name="high_score", **options)(gated), low)
        return add(Conv(self.out_channels, 1, name="low_score", **options)(low), high)
