"""LinkNet."""

from collections.abc import Sequence

from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder
from fcnjax.models.decoders.upsampling import need_skip, size_templates, skip_indices
from fcnjax.models.layers import (
    ConvTranspose4x4,
    FeatureMap,
    SpatialDropout,
    add,
    crop_or_pad_like,
)


class LinkNet(Decoder):
    """LinkNet (Chaurasia and Culurciello 2017, arXiv:1707.03718), as segmentation_models.pytorch.

    Each step reduces the channels to a quarter, doubles the size by a transposed convolution,
    expands to the channels of the skip and adds it. A feature at stride 1 is not used.

    Attributes:
        width: Channels of the steps without a skip.
        dropout: Probability of dropping a channel of the result in training.
        strides, norm, activation, dtype: As in `Decoder`.
    """

    width: int = 32
    dropout: float = 0.0
    takes_image = True
    unmet_requirement = staticmethod(need_skip)

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap:
        """Map the pyramid to `[B, H, W, width]`, of the size of the image."""
        x, skips = features[-1], skip_indices(self.strides)
        for n, i in enumerate(skips):
            doubles = self.strides[i] < self.strides[i + 1]
            x = self._step(x, features[i], n, train, width=features[i].channels, doubles=doubles)
            x = add(x, features[i])
        for n, like in enumerate(size_templates(image, self.strides), start=len(skips)):
            x = self._step(x, like, n, train, width=self.width, doubles=True)
        return SpatialDropout(self.dropout)(x, train)

    def _step(
        self, x: FeatureMap, like: FeatureMap, n: int, train: bool, *, width: int, doubles: bool
    ) -> FeatureMap:
        narrow = max(x.channels // 4, 1)
        x = self.conv_block(narrow, 1, name=f"block{n}_narrow")(x, train)
        if doubles:
            x = ConvTranspose4x4(narrow, dtype=self.dtype, name=f"block{n}_up")(x)
            x = self.norm_act(f"block{n}_up_norm")(x, train)
            x = crop_or_pad_like(x, like)
        else:  # neighbouring features of a dilated encoder may have the same size
            x = self.conv_block(narrow, name=f"block{n}_keep")(x, train)
        return self.conv_block(width, 1, name=f"block{n}_widen")(x, train)
