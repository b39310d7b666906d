"""The U-Net of segmentation_models.pytorch."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, Names, Widths
from fcnjax.models.decoders.unet import conv_pair
from fcnjax.models.decoders.upsampling import (
    RESIZE_FNS,
    need_skip,
    size_templates,
    skip_indices,
    step_widths,
)
from fcnjax.models.layers import ConvModule, FeatureMap, SpatialDropout, concat


class UpBlock(ConvModule):
    """Resize, concatenate the skips, two 3x3 convolutions: smp's `DecoderBlock`.

    Attributes:
        width: Channels of the convolutions.
        upsample: A name in `SMP_UPSAMPLES`.
        attention: As in `UNet`; without skips there is none before the convolutions.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    width: int
    upsample: str = "nearest"
    attention: str | None = None

    @nn.compact
    def __call__(
        self, x: FeatureMap, like: FeatureMap, skips: Sequence[FeatureMap], train: bool
    ) -> FeatureMap:
        """Map `x` and `skips`, of the size of `like`, to `[B, h, w, width]` of that size."""
        x = concat([RESIZE_FNS[self.upsample](x, like), *skips])
        return conv_pair(self, x, self.width, train, attend_first=bool(skips))


class SmpDecoder(Decoder):
    """Base of the U-Nets of segmentation_models.pytorch, which upsample to the size of the image.

    Attributes:
        widths: Channels after each step, deep to shallow.
        upsample, attention: As in `UpBlock`.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    widths: Widths
    upsample: str = "nearest"
    attention: str | None = None
    dropout: float = 0.0
    takes_image = True
    head_kernel = 3
    unmet_requirement = staticmethod(need_skip)

    @property
    def up_options(self) -> dict[str, Any]:
        """The fields of this decoder's `UpBlock`s."""
        return {"upsample": self.upsample, "attention": self.attention, **self.block_options}


class SmpUNet(SmpDecoder):
    """The generic U-Net of segmentation_models.pytorch 0.6, whose weights it loads.

    As `UNet`, and then up to the size of the image in steps without a skip. A feature at stride 1
    is not used.

    Attributes:
        center: Whether two convolutions precede the first step, as smp has them over VGG.
        strides, widths, upsample, attention, dropout: As in `SmpDecoder`.
        norm, activation, dtype: As in `Decoder`.
    """

    center: bool = False

    @classmethod
    def fields(
        cls,
        encoder: nn.Module,
        out_channels: int,
        names: Names,
        *,
        widths: Widths | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Return the fields; the default is 16 channels at stride 1, doubled at each step below.

        Raises:
            UserError: Not one width for each step.
        """
        options["widths"] = step_widths(widths, tuple(encoder.strides), names)
        options["center"] = names[0].startswith("vgg")
        return super().fields(encoder, out_channels, names, **options)

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap:
        """Map the pyramid to `[B, H, W, widths[-1]]`, of the size of the image."""
        x = features[-1]
        if self.center:
            x = self.conv_block(x.channels, name="center1")(x, train)
            x = self.conv_block(x.channels, name="center2")(x, train)
        steps = [(features[i], [features[i]]) for i in skip_indices(self.strides)]
        steps += [(like, []) for like in size_templates(image, self.strides)]
        for i, (width, (like, skips)) in enumerate(zip(self.widths, steps, strict=True)):
            x = UpBlock(width, name=f"block{i}", **self.up_options)(x, like, skips, train)
        return SpatialDropout(self.dropout)(x, train)
