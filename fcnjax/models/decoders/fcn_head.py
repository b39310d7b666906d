"""torchvision's FCN head, which also serves as the auxiliary head of any model."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Decoder, Names
from fcnjax.models.layers import Conv, FeatureMap, dropout, lecun_normal, map_data


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
    def fields(
        cls, encoder: nn.Module, out_channels: int, names: Names, *, index: int = -1, **options: Any
    ) -> dict[str, Any]:
        """Return the fields.

        Raises:
            UserError: The encoder has no such feature, or its features cover more than the image.
        """
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
        return super().fields(encoder, out_channels, names, index=index, **options)

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
