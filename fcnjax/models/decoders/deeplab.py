"""DeepLabV3 and V3+: context from convolutions at several dilations."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import (
    NORMS,
    Conv,
    ConvNormAct,
    FeatureMap,
    SeparableConv,
    concat,
    dropout,
    global_mean,
    map_data,
    normed,
    resize_corners_like,
)

RATES = (12, 24, 36)
WIDTH = 256
DETAIL_STRIDE = 4
DETAIL_WIDTH = 48


class Atrous(nn.Module):
    """A 3x3 convolution, normalisation and activation.

    Attributes:
        width: Output channels.
        rate: Distance between the taps.
        separable: Whether each channel is convolved by itself, and a 1x1 convolution follows.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int = WIDTH
    rate: int = 1
    separable: bool = False
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H, W, width]`."""
        common = {"dilation": self.rate, "dtype": self.dtype, "name": "conv"}
        if self.separable:
            conv = SeparableConv(self.width, **common)
        else:
            conv = Conv(self.width, use_bias=self.norm == "none", **common)
        norm = NORMS[self.norm](dtype=self.dtype, activation=self.activation, name="norm")
        return normed(conv, norm, x, train)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587), as torchvision.

    A 1x1 convolution, one 3x3 at each rate and the mean of the whole image, projected together.

    Attributes:
        width: Channels of each branch, and of the result.
        rates: Of the three convolutions.
        separable: As in `Atrous`.
        dropout: The probability that a value of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int = WIDTH
    rates: tuple[int, ...] = RATES
    separable: bool = False
    dropout: float = 0.5
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H, W, width]`."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        branches = [ConvNormAct(self.width, 1, name="point", **block)(x, train)]
        for i, rate in enumerate(self.rates, start=1):
            atrous = Atrous(self.width, rate, self.separable, name=f"atrous{i}", **block)
            branches.append(atrous(x, train))
        mean = FeatureMap(global_mean(x)[:, None, None].astype(self.dtype))
        mean = ConvNormAct(self.width, 1, name="pool", **block)(mean, train).data
        branches.append(x.replace(data=jnp.broadcast_to(mean, (*x.data.shape[:3], self.width))))
        x = ConvNormAct(self.width, 1, name="project", **block)(concat(branches), train)
        return map_data(dropout(self.dropout, train), x)


class DeepLabV3(nn.Module):
    """The head of DeepLabV3 (Chen et al. 2017, arXiv:1706.05587), as torchvision.

    Reads the deepest feature, which the paper takes at stride 8 or 16.

    Attributes:
        strides: Of the encoder's features, shallow to deep.
        width: Channels of the ASPP, and of the result.
        rates: Of the ASPP: (12, 24, 36) at stride 8; the paper has half of them at stride 16.
        separable: Whether the dilated convolutions of the ASPP are.
        align_corners: How the scores are enlarged to the image: torchvision False, smp True.
        dropout: As in `ASPP`.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    width: int = WIDTH
    rates: tuple[int, ...] = RATES
    separable: bool = False
    align_corners: bool = False
    dropout: float = 0.5
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    scores = False

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[-1]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, width]`, of the size of its deepest feature."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        aspp = ASPP(self.width, self.rates, self.separable, self.dropout, name="aspp", **block)
        return Atrous(self.width, name="refine", **block)(aspp(features[-1], train), train)


class DeepLabV3Plus(nn.Module):
    """The decoder of DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611).

    As segmentation_models.pytorch 0.6: separable convolutions, and one more after the ASPP; its
    result is enlarged to the feature at stride 4, which joins in 48 channels.

    Attributes:
        strides, width, rates, separable, align_corners, dropout: As in `DeepLabV3`.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    width: int = WIDTH
    rates: tuple[int, ...] = RATES
    separable: bool = True
    align_corners: bool = True
    dropout: float = 0.5
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = DETAIL_STRIDE
    scores = False

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, width]`, of the size of its feature at stride 4."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        aspp = ASPP(self.width, self.rates, self.separable, self.dropout, name="aspp", **block)
        x = aspp(features[-1], train)
        x = Atrous(self.width, separable=True, name="refine", **block)(x, train)
        detail = features[self.strides.index(DETAIL_STRIDE)]
        x = resize_corners_like(x, detail)
        detail = ConvNormAct(DETAIL_WIDTH, 1, name="detail", **block)(detail, train)
        merge = Atrous(self.width, separable=True, name="merge", **block)
        return merge(concat([x, detail]), train)


def make_deeplabv3(
    encoder: nn.Module, outputs: int, names: tuple[str, str], **options
) -> DeepLabV3:
    """Builds a `DeepLabV3` over any `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Unused: nothing is refused.
        **options: Other fields of `DeepLabV3`.
    """
    del outputs, names
    return DeepLabV3(tuple(encoder.strides), **options)


def make_deeplabv3plus(
    encoder: nn.Module, outputs: int, names: tuple[str, str], **options
) -> DeepLabV3Plus:
    """Builds a `DeepLabV3Plus` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `DeepLabV3Plus`.

    Raises:
        UserError: The encoder has no feature at stride 4, or none below it.
    """
    del outputs
    if DETAIL_STRIDE not in encoder.strides[:-1]:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs a "
            f"feature at stride {DETAIL_STRIDE} and a deeper one, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return DeepLabV3Plus(tuple(encoder.strides), **options)
