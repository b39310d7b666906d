"""U-Net's expanding path, over any pyramid."""

from collections.abc import Sequence
from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.upsampling_steps import checked_widths, size_templates, skip_indices
from fcnjax.models.layers import (
    ATTENTIONS,
    Conv,
    ConvNormAct,
    ConvTranspose2x,
    FeatureMap,
    SpatialDropout,
    add,
    concat,
    crop_edges,
    crop_or_pad_like,
    resize_like,
    resize_nearest_like,
)

UPSAMPLES = MappingProxyType(
    {"bilinear": "interpolation", "transposed": "a 2x2 transposed convolution with stride 2"}
)
SKIPS = MappingProxyType({"concat": "joins the channels", "add": "adds, projected by 1x1"})


class UNet(nn.Module):
    """The expanding path of U-Net (Ronneberger et al. 2015, arXiv:1505.04597).

    From the deepest feature up: enlarge to the next skip's own size, join the two, two 3x3
    convolutions. With `valid` padding, as in the paper, the skip is cropped to its centre instead,
    and the result to the image that a `Vanilla` of the same padding has mirrored.

    Attributes:
        widths: Channels after each skip, deep to shallow.
        final_stride: Of the encoder's shallowest feature, and so of the result.
        skip: A name in `SKIPS`. `add` projects to the skip's channels first where they differ.
        upsample: A name in `UPSAMPLES`. The transposed convolution halves the channels.
        padding: `same` or `valid`, as the encoder's.
        attention: A name in `ATTENTIONS` or None: on what is joined, and after the convolutions.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...]
    final_stride: int
    skip: str = "concat"
    upsample: str = "bilinear"
    padding: str = "same"
    attention: str | None = None
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    scores = False

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.final_stride

    @property
    def takes_image(self) -> bool:
        """Whether the call is given the image, whose size the result is cropped to."""
        return self.padding == "valid"

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap | None = None
    ) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, widths[-1]]`, of the size of its shallowest feature.

        With `valid`, of the size of `image`.
        """
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        valid = self.padding == "valid"
        conv = {"padding": 0, **block} if valid else block
        *skips, x = features
        for i, (skip, width) in enumerate(zip(reversed(skips), self.widths, strict=True), start=1):
            if valid:
                skip = crop_edges(skip, skip.size[0] // 2 - x.size[0])
            x = self._joined(self._upsampled(x, skip, i), skip, i)
            x = attend(self.attention, x, f"stage{i}_attention1")
            x = ConvNormAct(width, name=f"stage{i}_conv1", **conv)(x, train)
            x = ConvNormAct(width, name=f"stage{i}_conv2", **conv)(x, train)
            x = attend(self.attention, x, f"stage{i}_attention2")
        x = SpatialDropout(self.dropout)(x, train)
        return crop_or_pad_like(x, image) if valid else x

    def _upsampled(self, x: FeatureMap, like: FeatureMap, i: int) -> FeatureMap:
        if self.upsample == "bilinear":
            return resize_like(x, like)
        features = max(x.channels // 2, 1)
        x = ConvTranspose2x(features, dtype=self.dtype, name=f"upsample{i}")(x)
        return crop_or_pad_like(x, like)

    def _joined(self, x: FeatureMap, skip: FeatureMap, i: int) -> FeatureMap:
        if self.skip == "concat":
            return concat([skip, x])
        if x.channels != skip.channels:
            x = Conv(skip.channels, kernel=1, dtype=self.dtype, name=f"project{i}")(x)
        return add(x, skip)


def attend(attention: str | None, x: FeatureMap, name: str) -> FeatureMap:
    """The map under the attention of that name in `ATTENTIONS`, a layer `name`; None: as it is."""
    return x if attention is None else ATTENTIONS[attention](dtype=x.data.dtype, name=name)(x)


def make_unet(
    encoder: nn.Module,
    outputs: int,
    names: tuple[str, str],
    widths: tuple[int, ...] | None = None,
    **options,
) -> UNet:
    """Builds a `UNet` over `encoder`; the default widths are the channels of its skips.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        widths: As in `UNet`.
        **options: Other fields of `UNet`.

    Raises:
        UserError: Not one width for each skip, or a valid encoder that does not pool.
    """
    del outputs
    if options.get("padding") == "valid" and encoder.downsample != "max_pool":
        raise UserError(
            "config.model.padding: valid goes with config.model.downsample=max_pool, which is "
            f"{encoder.downsample}"
        )
    skips = tuple(reversed(encoder.channels[:-1]))
    widths = skips if widths is None else widths
    if len(widths) != len(skips):
        raise UserError(
            f"config.model.decoder_widths: {len(widths)} widths; {names[1]} over encoder "
            f"{names[0]} needs {len(skips)}, deep first, such as {skips}"
        )
    return UNet(widths, encoder.strides[0], **options)


class UpBlock(nn.Module):
    """Enlarges to a size, joins what is given, two 3x3 convolutions: smp's `DecoderBlock`.

    Attributes:
        width: Channels of the convolutions.
        upsample: `nearest` or `bilinear`.
        attention: As in `UNet`; without skips there is none before the convolutions.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int
    upsample: str = "nearest"
    attention: str | None = None
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: FeatureMap, like: FeatureMap, skips: Sequence[FeatureMap], train: bool
    ) -> FeatureMap:
        """Maps `x` and `skips`, of the size of `like`, to `[B, h, w, width]` of that size."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        resize = {"nearest": resize_nearest_like, "bilinear": resize_like}[self.upsample]
        x = concat([resize(x, like), *skips])
        if skips:
            x = attend(self.attention, x, "attention1")
        x = ConvNormAct(self.width, name="conv1", **block)(x, train)
        x = ConvNormAct(self.width, name="conv2", **block)(x, train)
        return attend(self.attention, x, "attention2")


SMP_UPSAMPLES = MappingProxyType(
    {"nearest": "repeats pixels", "bilinear": "interpolation, align_corners=False"}
)


class SmpUNet(nn.Module):
    """The generic U-Net of segmentation_models.pytorch 0.6, whose weights fit it one to one.

    As `UNet`, and then on to the size of the image in steps without a skip. A feature at stride 1
    is not used.

    Attributes:
        widths: Channels after each step, deep to shallow.
        strides: Of the encoder's features, shallow to deep.
        center: Whether two convolutions precede the first step, as smp has it over VGG.
        upsample: A name in `SMP_UPSAMPLES`.
        attention: As in `UpBlock`.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    center: bool = False
    upsample: str = "nearest"
    attention: str | None = None
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = 1
    scores = False
    takes_image = True
    head_kernel = 3

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap:
        """Maps the pyramid to `[B, H, W, widths[-1]]`, of the size of the image."""
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        x = features[-1]
        if self.center:
            x = ConvNormAct(x.channels, name="center1", **block)(x, train)
            x = ConvNormAct(x.channels, name="center2", **block)(x, train)
        steps = [(features[i], [features[i]]) for i in skip_indices(self.strides)]
        steps += [(like, []) for like in size_templates(image, self.strides)]
        for i, (width, (like, skips)) in enumerate(zip(self.widths, steps, strict=True)):
            up = UpBlock(width, self.upsample, self.attention, name=f"block{i}", **block)
            x = up(x, like, skips, train)
        return SpatialDropout(self.dropout)(x, train)


def make_smp_unet(
    encoder: nn.Module,
    outputs: int,
    names: tuple[str, str],
    widths: tuple[int, ...] | None = None,
    **options,
) -> SmpUNet:
    """Builds an `SmpUNet` over `encoder`, by default 16 channels at stride 1, twice that below.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages and for the centre of VGG.
        widths: As in `SmpUNet`.
        **options: Other fields of `SmpUNet`.

    Raises:
        UserError: Not two features above stride 1, or not one width for each step.
    """
    del outputs
    strides = tuple(encoder.strides)
    center = names[0].startswith("vgg")
    return SmpUNet(checked_widths(widths, strides, names), strides, center, **options)
