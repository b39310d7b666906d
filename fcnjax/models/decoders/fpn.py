"""Feature pyramid network."""

import functools
from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, need_two_levels, pyramid_levels
from fcnjax.models.decoders.upsampling import RESIZE_FNS
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    GroupNorm,
    SpatialDropout,
    add,
    concat,
    resize_corners_like,
)


class FPN(Decoder):
    """Semantic FPN (Kirillov et al. 2019, arXiv:1901.02446), as segmentation_models.pytorch 0.6.

    Top down, each level is the resized level below plus the projected feature. Each level is then
    brought to the shallowest one's size by convolutions and resizes, and all are merged.

    Attributes:
        pyramid: Channels of the levels.
        width: Channels of the convolutions after them, which group norm normalises, and of the
            result where the levels are summed; concatenation multiplies them by the levels.
        merge: `add` sums the levels, `concat` joins their channels.
        upsample: `nearest` or `bilinear`, from a level to the next.
        align_corners: How the logits are resized to the image.
        dropout: Probability of dropping a channel of the result in training.
        strides: As in `Decoder`; the features from stride 4 on are used.
        activation, dtype: As in `Decoder`.
    """

    pyramid: int = 256
    width: int = 128
    merge: str = "add"
    upsample: str = "nearest"
    align_corners: bool = True
    dropout: float = 0.2
    unmet_requirement = staticmethod(need_two_levels)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[pyramid_levels(self.strides)[0]]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of the shallowest feature used."""
        levels = []
        for n, i in enumerate(reversed(pyramid_levels(self.strides))):
            level = Conv(self.pyramid, 1, dtype=self.dtype, name=f"lateral{n}")(features[i])
            if levels:
                level = add(level, RESIZE_FNS[self.upsample](levels[-1], level))
            levels.append(level)
        enlarged = [self._enlarge(levels, n, train) for n in range(len(levels))]
        merged = concat(enlarged) if self.merge == "concat" else functools.reduce(add, enlarged)
        return SpatialDropout(self.dropout)(merged, train)

    def _enlarge(self, levels: Sequence[FeatureMap], n: int, train: bool) -> FeatureMap:
        """Bring a level to the shallowest one's size."""
        x = levels[n]
        # One convolution for each shallower level; the shallowest has one too.
        for j, shallower in enumerate(levels[n + 1 :] or [x]):
            name = f"climb{n}_{j}"
            conv = Conv(self.width, use_bias=False, dtype=self.dtype, name=f"{name}_conv")
            norm = GroupNorm(self.dtype, activation=self.activation, name=f"{name}_norm")
            x = resize_corners_like(norm(conv(x), train), shallower)
        return x
