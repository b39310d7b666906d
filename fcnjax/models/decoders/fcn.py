"""FCN's logits at several strides, summed, and torchvision's FCN head."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Context, Decoder, Fields, cannot_decode
from fcnjax.models.layers import (
    BilinearConvTranspose,
    Conv,
    FeatureMap,
    SpatialDropout,
    activate,
    add,
    crop_or_pad_like,
    dropout,
    lecun_normal,
    map_data,
    max_pool,
    resize_like,
)

UPSAMPLES = {"bilinear": "interpolation", "transposed": "a transposed convolution, learned"}
VGG_FC_WIDTH, FC_DROPOUT = 4096, 0.5


class FCN(Decoder):
    """FCN-32s, 16s or 8s (Long et al. 2015, arXiv:1411.4038).

    A 1x1 convolution scores the features at stride 32. The logits are doubled in size and added to
    those at stride 16, and so on down to the stride in the model's name.

    The paper's are over VGG. They keep the fully connected layers of its classifier, as
    convolutions `fc6` (7x7) and `fc7` (1x1) at stride 32, and score the poolings `pool4` and
    `pool3` instead of the last convolutions at strides 16 and 8. The paper pads the image by 100
    pixels for the 7x7 convolution, and crops; here that convolution is zero-padded, and sizes are
    kept. The segmenter's last resize is bilinear, as in the paper.

    Attributes:
        out_channels: Logits for each pixel.
        final_stride: 32, 16 or 8.
        upsample: A name in `UPSAMPLES`; the transposed convolution is initialised to bilinear.
        fc_width: Channels of `fc6` and `fc7`; 0 for none.
        pooled: Whether to score poolings at strides 16 and 8, over an encoder that pools so.
        dropout: Probability of dropping a value after `fc6` and `fc7` in training; without these,
            of dropping a channel of the features.
        strides, dtype: As in `Decoder`.
    """

    out_channels: int
    final_stride: int
    upsample: str = "bilinear"
    fc_width: int = 0
    pooled: bool = False
    dropout: float = 0.0
    returns_logits = True

    @classmethod
    def fields(
        cls,
        context: Context,
        *,
        final_stride: int,
        fc_width: int | None = None,
        dropout: float | None = None,
        **options: Any,
    ) -> Fields:
        """Return the fields; by default over VGG the paper's `fc6` and `fc7`, and no others.

        Raises:
            UserError: The encoder has no feature at a stride that this decoder scores.
        """
        encoder, _, names = context
        missing = [str(n) for n in _scored_strides(final_stride) if n not in encoder.strides]
        if missing:
            requirement = f"scores features at stride {' and '.join(missing)}"
            raise cannot_decode(names, requirement, encoder.strides)
        is_vgg = names[0].startswith("vgg")
        if fc_width is None:
            fc_width = VGG_FC_WIDTH if is_vgg else 0
        if dropout is None:
            dropout = FC_DROPOUT if fc_width else 0.0
        options |= {"final_stride": final_stride, "fc_width": fc_width}
        options |= {"dropout": dropout, "pooled": is_vgg}
        return options

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.final_stride

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, out_channels]`, of the size of the shallowest scored."""
        by_stride = dict(zip(self.strides, features, strict=True))
        total = None
        for stride in _scored_strides(self.final_stride):
            if self.pooled and stride < 32:
                x = max_pool(by_stride[stride // 2])
            else:
                x = by_stride[stride]
            x = self._prepare(x, stride, train)
            options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": f"score{stride}"}
            logits = Conv(self.out_channels, kernel=1, **options)(x)
            total = logits if total is None else add(logits, self._enlarge(total, logits, stride))
        return total

    def _prepare(self, x: FeatureMap, stride: int, train: bool) -> FeatureMap:
        """Apply dropout, and at stride 32 the fully connected layers."""
        if not self.fc_width:
            return SpatialDropout(self.dropout)(x, train)
        if stride < 32:
            return x
        for name, kernel in (("fc6", 7), ("fc7", 1)):
            x = Conv(self.fc_width, kernel, dtype=self.dtype, name=name)(x)
            x = activate("relu", x)
            x = map_data(dropout(self.dropout, train), x)
        return x

    def _enlarge(self, x: FeatureMap, like: FeatureMap, stride: int) -> FeatureMap:
        if self.upsample == "bilinear":
            return resize_like(x, like)
        x = BilinearConvTranspose(dtype=self.dtype, name=f"upsample{stride}")(x)
        return crop_or_pad_like(x, like)


def _scored_strides(final_stride: int) -> tuple[int, ...]:
    """Return the strides that are scored, deep to shallow."""
    return tuple(stride for stride in (32, 16, 8) if stride >= final_stride)


class FCNHead(Decoder):
    """A 3x3 convolution to a quarter of the channels, and the logits, as torchvision's `FCNHead`.

    Attributes:
        out_channels: Logits for each pixel.
        index: The feature it reads; -1 is the deepest.
        dropout: Probability of dropping a value before the logits, in training.
        align_corners: How the logits are resized to the image.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    out_channels: int
    index: int = -1
    dropout: float = 0.1
    align_corners: bool = False
    returns_logits = True

    @classmethod
    def fields(cls, context: Context, *, index: int = -1, **options: Any) -> Fields:
        """Return the fields.

        Raises:
            UserError: The encoder has no such feature, or its features cover more than the image.
        """
        encoder, _, names = context
        if getattr(encoder, "padding", "same") == "valid":
            raise UserError(
                "config.model.aux_head: with config.model.padding=valid the encoder's features "
                "cover more than the image, and an auxiliary head would misalign them"
            )
        if len(encoder.strides) < -index:
            raise UserError(
                f"config.model.aux_head: the auxiliary head reads feature {index}, and encoder "
                f"{names[0]} has {len(encoder.strides)}"
            )
        return {"index": index, **options}

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[self.index]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to logits `[B, h, w, out_channels]`, of the size of the feature read."""
        x = features[self.index]
        x = self.conv_block(max(x.channels // 4, 1), name="hidden")(x, train)
        x = map_data(dropout(self.dropout, train), x)
        options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": "score"}
        return Conv(self.out_channels, 1, **options)(x)
