"""Decoders that pool or build a pyramid: PSPNet, FPN and UPerNet."""

import functools
from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.models.decoders.decoder import (
    Context,
    Decoder,
    Fields,
    check_positive,
    need_two_levels,
    pyramid_levels,
)
from fcnjax.models.decoders.smp import RESIZE_FNS
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    GroupNorm,
    LayerNorm,
    SpatialDropout,
    adaptive_mean,
    add,
    concat,
    resize_corners_like,
    resize_like,
)

BINS = (1, 2, 3, 6)
PSPNET_STRIDE = 8


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
    stride = PSPNET_STRIDE
    head_kernel = 3

    @staticmethod
    def unmet_requirement(strides: Sequence[int]) -> str | None:
        """Return the requirement that an encoder of these strides fails, as a clause, or None."""
        return None if PSPNET_STRIDE in strides else f"reads the feature at stride {PSPNET_STRIDE}"

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of the feature read."""
        x = features[max(i for i, stride in enumerate(self.strides) if stride == PSPNET_STRIDE)]
        width = max(x.channels // len(BINS), 1)
        branches = []
        for bins in BINS:
            # One pixel an image is too few for batch statistics; torch raises an error.
            norm = "none" if bins == 1 else self.norm
            conv = self.conv_block(width, 1, norm=norm, name=f"pool{bins}")
            branches.append(resize_corners_like(conv(adaptive_mean(x, bins), train), x))
        merge = self.conv_block(self.width, 1, name="merge")
        return SpatialDropout(self.dropout)(merge(concat([*branches, x]), train), train)


class PyramidDecoder(Decoder):
    """A decoder of the features from stride 4 on, whose result has the size of the first."""

    unmet_requirement = staticmethod(need_two_levels)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[pyramid_levels(self.strides)[0]]


class FPN(PyramidDecoder):
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


class UPerNet(PyramidDecoder):
    """UPerNet (Xiao et al. 2018, arXiv:1807.10221), as segmentation_models.pytorch 0.6.

    Pyramid pooling of the deepest feature, as in PSPNet, is the deepest level of a feature pyramid:
    top down, each level is the resized level below plus the projected feature. All levels are
    convolved, resized to the shallowest and merged.

    Attributes:
        width: Channels of the levels, and of the result.
        align_corners: How the logits are resized to the image.
        dropout: Probability of dropping a channel of the result in training.
        bins: Sides of the grids of the pyramid pooling.
        feature_norm: Whether layer norm is applied to the features.
        epsilon: Of that layer norm.
        min_stride: Features at smaller strides are not used.
        resized_once: As in `Decoder`.
        strides: As in `Decoder`.
        norm, activation, dtype: As in `Decoder`.
    """

    width: int = 256
    align_corners: bool = True
    dropout: float = 0.0
    bins: tuple[int, ...] = BINS
    feature_norm: bool = True
    epsilon: float = 1e-6
    min_stride: int = 4
    resized_once: bool = False

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[pyramid_levels(self.strides, self.min_stride)[0]]

    @classmethod
    def fields(cls, context: Context, **options: Any) -> Fields:
        """Check the sides of the grids."""
        check_positive(options, ("bins", "min_stride"))
        return super().fields(context, **options)

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of the shallowest feature used."""
        used = [features[i] for i in pyramid_levels(self.strides, self.min_stride)]
        if self.feature_norm:
            norm = functools.partial(LayerNorm, self.epsilon, self.dtype)
            used = [norm(name=f"norm{n}")(x) for n, x in enumerate(used)]
        *skips, deepest = used
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
            for bins in self.bins
        )
        joined = concat([x, *(resize_like(mean, x) for mean in means)])
        return self.conv_block(self.width, name="context")(joined, train)
