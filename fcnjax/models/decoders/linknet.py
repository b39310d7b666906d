"""LinkNet."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.decoders.upsampling_steps import require_skips, size_templates, skip_indices
from fcnjax.models.layers import (
    NORMS,
    ConvNormAct,
    ConvTranspose4x4,
    FeatureMap,
    SpatialDropout,
    add,
    crop_or_pad_like,
)


class LinkNet(nn.Module):
    """LinkNet (Chaurasia and Culurciello 2017, arXiv:1707.03718), as segmentation_models.pytorch.

    Each step narrows to a quarter of the channels, doubles the size by a transposed convolution,
    widens to the channels of the skip and adds it. A feature at stride 1 is not used.

    Attributes:
        strides: Of the encoder's features, shallow to deep.
        width: Channels of the steps that have no skip.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    width: int = 32
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = 1
    scores = False
    takes_image = True

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool, image: FeatureMap
    ) -> FeatureMap:
        """Maps the pyramid to `[B, H, W, width]`, of the size of the image."""
        x, skips = features[-1], skip_indices(self.strides)
        for n, i in enumerate(skips):
            doubles = self.strides[i] < self.strides[i + 1]
            x = self._step(x, features[i], features[i].channels, n, doubles, train)
            x = add(x, features[i])
        for n, like in enumerate(size_templates(image, self.strides), start=len(skips)):
            x = self._step(x, like, self.width, n, True, train)
        return SpatialDropout(self.dropout)(x, train)

    def _step(
        self, x: FeatureMap, like: FeatureMap, width: int, n: int, doubles: bool, train: bool
    ) -> FeatureMap:
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        narrow = max(x.channels // 4, 1)
        x = ConvNormAct(narrow, 1, name=f"block{n}_narrow", **block)(x, train)
        if doubles:
            x = ConvTranspose4x4(narrow, dtype=self.dtype, name=f"block{n}_up")(x)
            options = {"dtype": self.dtype, "activation": self.activation}
            x = NORMS[self.norm](**options, name=f"block{n}_up_norm")(x, train)
            x = crop_or_pad_like(x, like)
        else:  # a dilated encoder's neighbours have one size
            x = ConvNormAct(narrow, 3, name=f"block{n}_keep", **block)(x, train)
        return ConvNormAct(width, 1, name=f"block{n}_widen", **block)(x, train)


def make_linknet(encoder: nn.Module, outputs: int, names: tuple[str, str], **options) -> LinkNet:
    """Builds a `LinkNet` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `LinkNet`.

    Raises:
        UserError: Not two features above stride 1.
    """
    del outputs
    strides = tuple(encoder.strides)
    require_skips(strides, names)
    return LinkNet(strides, **options)
