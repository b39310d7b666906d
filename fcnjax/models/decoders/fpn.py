"""Feature pyramid network."""

import functools
from collections.abc import Sequence
from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    GroupNorm,
    SpatialDropout,
    add,
    concat,
    resize_corners_like,
    resize_like,
    resize_nearest_like,
)

MERGES = MappingProxyType({"add": "sums the levels", "concat": "joins their channels"})


class FPN(nn.Module):
    """Semantic FPN (Kirillov et al. 2019, arXiv:1901.02446), as segmentation_models.pytorch 0.6.

    Top down, each level is the one below, enlarged, plus the feature projected. Each level then
    climbs by convolution and enlargement to the shallowest, where all are merged.

    Attributes:
        strides: Of the encoder's features, shallow to deep; those from 4 on are used.
        pyramid: Channels of the levels.
        width: Channels of the climb, normalised by group norm, and of the result where the levels
            are summed; joined, they are as many times more.
        merge: A name in `MERGES`.
        upsample: `nearest` or `bilinear`, of a level to the one above.
        align_corners: How the scores are enlarged to the image.
        dropout: The probability that a channel of the result is dropped in training.
        activation: A name in `ACTIVATIONS`.
        dtype: Of the computation.
    """

    strides: tuple[int, ...]
    pyramid: int = 256
    width: int = 128
    merge: str = "add"
    upsample: str = "nearest"
    align_corners: bool = True
    dropout: float = 0.2
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    scores = False

    @property
    def used(self) -> tuple[int, ...]:
        """Which features are used, deep to shallow."""
        return tuple(i for i in reversed(range(len(self.strides))) if self.strides[i] >= 4)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[self.used[-1]]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, width]`, of the size of the shallowest feature used."""
        resize = {"nearest": resize_nearest_like, "bilinear": resize_like}[self.upsample]
        levels = []
        for n, i in enumerate(self.used):
            level = Conv(self.pyramid, 1, dtype=self.dtype, name=f"lateral{n}")(features[i])
            if levels:
                level = add(level, resize(levels[-1], level))
            levels.append(level)
        climbed = [self._climbed(levels, n, train) for n in range(len(levels))]
        merged = concat(climbed) if self.merge == "concat" else functools.reduce(add, climbed)
        return SpatialDropout(self.dropout)(merged, train)

    def _climbed(self, levels: Sequence[FeatureMap], n: int, train: bool) -> FeatureMap:
        x = levels[n]
        # One convolution for each level above, and one where there is none above.
        for j, above in enumerate(levels[n + 1 :] or [x]):
            name = f"climb{n}_{j}"
            conv = Conv(self.width, use_bias=False, dtype=self.dtype, name=f"{name}_conv")
            norm = GroupNorm(self.dtype, activation=self.activation, name=f"{name}_norm")
            x = resize_corners_like(norm(conv(x), train), above)
        return x


def make_fpn(encoder: nn.Module, outputs: int, names: tuple[str, str], **options) -> FPN:
    """Builds an `FPN` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `FPN`.

    Raises:
        UserError: Fewer than two features at stride 4 or more.
    """
    del outputs
    decoder = FPN(tuple(encoder.strides), **options)
    if len(decoder.used) < 2:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs two "
            f"features at stride 4 or more, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return decoder
