"""DeepLabV3 and V3+: context from convolutions at several dilations."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, need_stride_and_deeper
from fcnjax.models.layers import (
    Conv,
    ConvModule,
    FeatureMap,
    SeparableConv,
    concat,
    conv_norm_act,
    dropout,
    global_mean,
    map_data,
    resize_corners_like,
)

RATES = (12, 24, 36)
WIDTH = 256
DETAIL_STRIDE = 4
DETAIL_WIDTH = 48


class AtrousConv(ConvModule):
    """A dilated 3x3 convolution, normalisation and activation.

    Attributes:
        width: Output channels.
        rate: Dilation.
        separable: Whether the convolution is depthwise separable.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int = WIDTH
    rate: int = 1
    separable: bool = False

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H, W, width]`."""
        options = {"dilation": self.rate, "dtype": self.dtype, "name": "conv"}
        if self.separable:
            conv = SeparableConv(self.width, **options)
        else:
            conv = Conv(self.width, use_bias=self.norm == "none", **options)
        return conv_norm_act(conv, self.norm_act("norm"), x, train)


class ASPP(ConvModule):
    """Atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587), as torchvision.

    A 1x1 convolution, a 3x3 convolution at each rate, and the mean of the image, concatenated and
    projected.

    Attributes:
        width: Channels of each branch, and of the result.
        rates: Dilations of the 3x3 convolutions.
        separable: As in `AtrousConv`.
        dropout: Probability of dropping a value of the result in training.
        pool_first: Whether the mean is the first of the concatenated branches, or the last.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int = WIDTH
    rates: tuple[int, ...] = RATES
    separable: bool = False
    dropout: float = 0.5
    pool_first: bool = False

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H, W, width]`."""
        branches = [self.conv_block(self.width, 1, name="point")(x, train)]
        for i, rate in enumerate(self.rates, start=1):
            options = {"separable": self.separable, **self.block_options}
            branches.append(AtrousConv(self.width, rate, name=f"atrous{i}", **options)(x, train))
        mean = FeatureMap(global_mean(x)[:, None, None].astype(self.dtype))
        mean = self.conv_block(self.width, 1, name="pool")(mean, train).data
        mean = x.replace(data=jnp.broadcast_to(mean, (*x.data.shape[:3], self.width)))
        branches = [mean, *branches] if self.pool_first else [*branches, mean]
        x = self.conv_block(self.width, 1, name="project")(concat(branches), train)
        return map_data(dropout(self.dropout, train), x)


class DeepLabV3(Decoder):
    """The decoder of DeepLabV3 (Chen et al. 2017, arXiv:1706.05587), as torchvision.

    It reads the deepest feature, which the paper takes at stride 8 or 16.

    Attributes:
        width: Channels of the ASPP, and of the result.
        rates: Dilations of the ASPP: (12, 24, 36) at stride 8; the paper has half of them at 16.
        separable: Whether the dilated convolutions of the ASPP are depthwise separable.
        align_corners: How the logits are resized to the image: False in torchvision, True in smp.
        dropout: As in `ASPP`.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = WIDTH
    rates: tuple[int, ...] = RATES
    separable: bool = False
    align_corners: bool = False
    dropout: float = 0.5

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[-1]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of its deepest feature."""
        return self.context(features[-1], train, separable=False)

    def context(self, x: FeatureMap, train: bool, separable: bool) -> FeatureMap:
        """Apply the ASPP and one more convolution."""
        options = {"separable": self.separable, "dropout": self.dropout, **self.block_options}
        x = ASPP(self.width, self.rates, name="aspp", **options)(x, train)
        options = {"separable": separable, "name": "refine", **self.block_options}
        return AtrousConv(self.width, **options)(x, train)


class DeepLabV3Plus(DeepLabV3):
    """The decoder of DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611).

    As segmentation_models.pytorch 0.6: separable convolutions, and one more after the ASPP. The
    result is resized to the feature at stride 4, projected to 48 channels, and the two are merged.

    Attributes:
        strides, width, rates, separable, align_corners, dropout: As in `DeepLabV3`.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    separable: bool = True
    align_corners: bool = True
    stride = DETAIL_STRIDE
    unmet_requirement = staticmethod(functools.partial(need_stride_and_deeper, DETAIL_STRIDE))

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of its feature at stride 4."""
        x = self.context(features[-1], train, separable=True)
        detail = features[self.strides.index(DETAIL_STRIDE)]
        x = resize_corners_like(x, detail)
        detail = self.conv_block(DETAIL_WIDTH, 1, name="detail")(detail, train)
        merge = AtrousConv(self.width, separable=True, name="merge", **self.block_options)
        return merge(concat([x, detail]), train)
