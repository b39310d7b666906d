"""U-Net's expanding path, over any pyramid."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Context, Decoder, Fields, Widths, check_count
from fcnjax.models.layers import (
    ATTENTIONS,
    Conv,
    ConvModule,
    ConvTranspose2x,
    FeatureMap,
    SpatialDropout,
    add,
    concat,
    crop_edges,
    crop_or_pad_like,
    resize_like,
)


class UNet(Decoder):
    """The expanding path of U-Net (Ronneberger et al. 2015, arXiv:1505.04597).

    Each step resizes to the next skip's size, merges the two, and applies two 3x3 convolutions.
    With `valid` padding, as in the paper, the skip is cropped to its centre instead, and the result
    to the image that a `Vanilla` of the same padding has mirrored.

    Attributes:
        widths: Channels after each skip, deep to shallow.
        skip: `concat` joins the channels; `add` first projects to the skip's where they differ.
        upsample: `bilinear`, or `transposed`: a 2x2 transposed convolution with stride 2, which
            halves the channels.
        padding: `same` or `valid`, as the encoder's.
        attention: A name in `ATTENTIONS`, applied before and after the convolutions; or None.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    widths: tuple[int, ...]
    skip: str = "concat"
    upsample: str = "bilinear"
    padding: str = "same"
    attention: str | None = None
    dropout: float = 0.0

    @classmethod
    def fields(cls, context: Context, *, widths: Widths | None = None, **options: Any) -> Fields:
        """Return the fields; the default widths are the channels of the skips.

        Raises:
            UserError: Not one width for each skip, or a valid encoder without max pooling.
        """
        encoder, _, names = context
        if options.get("padding") == "valid" and encoder.downsample != "max_pool":
            raise UserError(
                "config.model.padding: valid needs config.model.downsample=max_pool, which is "
                f"{encoder.downsample}"
            )
        skips = tuple(reversed(encoder.channels[:-1]))
        widths = skips if widths is None else widths
        check_count("decoder_widths", widths, skips, names)
        return {"widths": widths, **options}

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[0]

    @property
    def takes_image(self) -> bool:
        """True for `valid`, which crops the result to the size of the image."""
        return self.padding == "valid"

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap | None = None
    ) -> FeatureMap:
        """Map the pyramid to `[B, h, w, widths[-1]]`, of the size of its shallowest feature.

        With `valid`, it has the size of `image`.
        """
        valid = self.padding == "valid"
        options = {"padding": 0} if valid else {}
        *skips, x = features
        for i, (skip, width) in enumerate(zip(reversed(skips), self.widths, strict=True), start=1):
            if valid:
                skip = crop_edges(skip, skip.size[0] // 2 - x.size[0])
            x = self._merge(self._enlarge(x, skip, i), skip, i)
            x = conv_pair(self, x, width, train, prefix=f"stage{i}_", **options)
        x = SpatialDropout(self.dropout)(x, train)
        return crop_or_pad_like(x, image) if valid else x

    def _enlarge(self, x: FeatureMap, like: FeatureMap, i: int) -> FeatureMap:
        if self.upsample == "bilinear":
            return resize_like(x, like)
        features = max(x.channels // 2, 1)
        x = ConvTranspose2x(features, dtype=self.dtype, name=f"upsample{i}")(x)
        return crop_or_pad_like(x, like)

    def _merge(self, x: FeatureMap, skip: FeatureMap, i: int) -> FeatureMap:
        if self.skip == "concat":
            return concat([skip, x])
        if x.channels != skip.channels:
            x = Conv(skip.channels, kernel=1, dtype=self.dtype, name=f"project{i}")(x)
        return add(x, skip)


def conv_pair(
    module: ConvModule,
    x: FeatureMap,
    width: int,
    train: bool,
    *,
    prefix: str = "",
    attend_first: bool = True,
    **options: Any,
) -> FeatureMap:
    """Apply two 3x3 convolutions, with the module's attention before and after.

    Args:
        module: The calling module, which has a field `attention`.
        x: Input.
        width: Channels of the convolutions.
        train: Whether this is training.
        prefix: Prefix of the layers' names, `conv1` and so on.
        attend_first: Whether there is attention before the convolutions.
        **options: Fields of the convolutions.
    """
    if attend_first:
        x = _attend(module.attention, x, f"{prefix}attention1")
    x = module.conv_block(width, name=f"{prefix}conv1", **options)(x, train)
    x = module.conv_block(width, name=f"{prefix}conv2", **options)(x, train)
    return _attend(module.attention, x, f"{prefix}attention2")


def _attend(attention: str | None, x: FeatureMap, name: str) -> FeatureMap:
    return x if attention is None else ATTENTIONS[attention](dtype=x.data.dtype, name=name)(x)
