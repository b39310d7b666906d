"""LR-ASPP."""

import functools
from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, need_stride_and_deeper
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    add,
    global_mean,
    lecun_normal,
    map_data,
    resize_like,
)

STRIDE = 8


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
    stride = STRIDE
    returns_logits = True
    unmet_requirement = staticmethod(functools.partial(need_stride_and_deeper, STRIDE))

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, out_channels]`, of the size of the stride 8 feature."""
        low, high = features[self.strides.index(STRIDE)], features[-1]
        projected = self.conv_block(self.width, 1, name="project")(high, train)
        mean = FeatureMap(global_mean(high)[:, None, None])
        gate = Conv(self.width, 1, use_bias=False, dtype=self.dtype, name="gate")(mean)
        weights = nn.sigmoid(gate.data)
        gated = map_data(lambda data: data * weights, projected)
        options = {"kernel_init": lecun_normal, "dtype": self.dtype}
        high = Conv(self.out_channels, 1, name="high_score", **options)(resize_like(gated, low))
        return add(Conv(self.out_channels, 1, name="low_score", **options)(low), high)
