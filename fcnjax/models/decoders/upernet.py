"""UPerNet."""

from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, need_two_levels, pyramid_levels
from fcnjax.models.decoders.pspnet import BINS
from fcnjax.models.layers import (
    FeatureMap,
    LayerNorm,
    SpatialDropout,
    adaptive_mean,
    add,
    concat,
    resize_like,
)


class UPerNet(Decoder):
    """UPerNet (Xiao et al. 2018, arXiv:1807.10221), as segmentation_models.pytorch 0.6.

    Pyramid pooling of the deepest feature, as in PSPNet, is the deepest level of a feature pyramid:
    top down, each level is the resized level below plus the projected feature. All levels are
    convolved, resized to the shallowest and merged. Layer norm is applied to the features first.

    Attributes:
        width: Channels of the levels, and of the result.
        align_corners: How the logits are resized to the image.
        dropout: Probability of dropping a channel of the result in training.
        strides: As in `Decoder`; the features from stride 4 on are used.
        norm, activation, dtype: As in `Decoder`.
    """

    width: int = 256
    align_corners: bool = True
    dropout: float = 0.0
    unmet_requirement = staticmethod(need_two_levels)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[pyramid_levels(self.strides)[0]]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of the shallowest feature used."""
        *skips, deepest = [
            LayerNorm(dtype=self.dtype, name=f"norm{n}")(features[i])
            for n, i in enumerate(pyramid_levels(self.strides))
        ]
        state = self._pool_pyramid(deepest, train)
        levels = [state]
        for n, skip in enumerate(reversed(skips)):
            lateral = self.conv_block(self.width, 1, name=f"lateral{n}")(skip, train)
            state = add(lateral, resize_like(state, lateral))
            levels.append(self.conv_block(self.width, name=f"smooth{n}")(state, train))
        levels = [resize_like(level, levels[-1]) for level in reversed(levels)]
        fused = self.conv_block(self.width, name="fuse")(concat(levels), train)
        return SpatialDropout(self.dropout)(fused, train)

    def _pool_pyramid(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Merge a feature with its means over several grids."""
        means = (
            self.conv_block(self.width, 1, name=f"pool{bins}")(adaptive_mean(x, bins), train)
            for bins in BINS
        )
        joined = concat([x, *(resize_like(mean, x) for mean in means)])
        return self.conv_block(self.width, name="context")(joined, train)
