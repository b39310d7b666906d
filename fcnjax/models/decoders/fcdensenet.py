"""The upsampling path of FC-DenseNet."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder, Names, Widths, check_count
from fcnjax.models.encoders.fcdensenet import DROPOUT, DenseBlock, FCDenseNet
from fcnjax.models.layers import Conv, ConvTranspose3x3, FeatureMap, concat, crop_or_pad_like

# The defaults over other encoders, those of FC-DenseNet67.
DEPTH, GROWTH = 5, 16


class FCDenseNetUp(Decoder):
    """The upsampling path of FC-DenseNet (Jegou et al. 2017, arXiv:1611.09326).

    Each step doubles the size by a transposed convolution, concatenates the skip, and applies a
    dense block. The next step reads only the channels that the block added; the last step also
    returns the block's input. The first step reads all of the deepest feature, which in an
    `FCDenseNet` is what the bottleneck added.

    Attributes:
        depths: Layers of each dense block, deep to shallow.
        width: Channels of the first transposed convolution; the others keep their input's.
        growth: Channels that a layer adds.
        dropout: Probability of dropping a value after each convolution in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    depths: tuple[int, ...]
    width: int
    growth: int = GROWTH
    dropout: float = DROPOUT

    @classmethod
    def fields(
        cls,
        encoder: nn.Module,
        out_channels: int,
        names: Names,
        *,
        depths: Widths | None = None,
        growth: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Return the fields; by default the depths and growth of an `FCDenseNet`, or 5 and 16.

        Raises:
            UserError: Not one depth for each skip.
        """
        mirrors = isinstance(encoder, FCDenseNet)
        count = len(encoder.strides) - 1
        default = tuple(reversed(encoder.depths[:-1])) if mirrors else (DEPTH,) * count
        depths = default if depths is None else depths
        check_count("decoder_depths", depths, default, names)
        if growth is None:
            growth = encoder.growth if mirrors else GROWTH
        # The paper's transposed convolutions keep the channels, too many over a wide feature.
        width = encoder.channels[-1] if mirrors else growth * DEPTH
        options |= {"depths": depths, "width": width, "growth": growth}
        return super().fields(encoder, out_channels, names, **options)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[0]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, C]`, of the size of its shallowest feature."""
        options = {"dropout": self.dropout, **self.block_options}
        new, x, width = features[-1], features[-1], self.width
        levels = reversed(range(len(features) - 1))
        for i, (level, depth) in enumerate(zip(levels, self.depths, strict=True), start=1):
            skip = features[level]
            doubles = self.strides[level] < self.strides[level + 1]
            # Neighbouring features of a dilated encoder may have the same size.
            enlarge = ConvTranspose3x3 if doubles else Conv
            up = enlarge(width, dtype=self.dtype, name=f"up{i}")(new)
            x = concat([crop_or_pad_like(up, skip), skip])
            new = DenseBlock(depth, self.growth, name=f"block{i}", **options)(x, train)
            width = new.channels
            x = concat([x, new])
        return x
