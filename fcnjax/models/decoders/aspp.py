"""Atrous spatial pyramid pooling as the entire decoder, as MobileViT and MobileNetV2 have it."""

from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder
from fcnjax.models.decoders.deeplab import ASPP, WIDTH
from fcnjax.models.layers import FeatureMap, SpatialDropout


class ASPPDecoder(Decoder):
    """DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) without the convolution after the pyramid.

    As transformers' MobileViT. Without rates it is the reduced pyramid of MobileNetV2 (Sandler et
    al. 2018, arXiv:1801.04381, section 6.3): a 1x1 convolution and the mean of the image.

    Attributes:
        width: Channels of each branch, and of the result.
        rates: Dilations of the 3x3 convolutions.
        pool_first: Whether the mean is the first of the concatenated branches, or the last.
        value_dropout: Probability of dropping a value of the result in training.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = WIDTH
    rates: tuple[int, ...] = (6, 12, 18)
    pool_first: bool = False
    value_dropout: float = 0.1
    dropout: float = 0.1
    resized_once = True

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[-1]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to `[B, h, w, width]`, of the size of its deepest feature."""
        options = {"pool_first": self.pool_first, "dropout": self.value_dropout}
        pyramid = ASPP(self.width, self.rates, name="aspp", **options, **self.block_options)
        return SpatialDropout(self.dropout)(pyramid(features[-1], train), train)
