"""UPerNet."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.pspnet import BINS
from fcnjax.models.layers import (
    ConvNormAct,
    FeatureMap,
    LayerNorm,
    SpatialDropout,
    adaptive_mean,
    add,
    concat,
    resize_like,
)


class UPerNet(nn.Module):
    """UPerNet (Xiao et al. 2018, arXiv:1807.10221), as segmentation_models.pytorch 0.6.

    The means of the deepest feature over grids join it, as in PSPNet, and begin a pyramid: top
    down, each level is the one below, enlarged, plus the feature projected. All levels, convolved,
    are enlarged to the shallowest and merged. Features are normalised before they are read.

    Attributes:
        strides: Of the encoder's features, shallow to deep; those from 4 on are used.
        width: Channels of the levels, and of the result.
        align_corners: How the scores are enlarged to the image.
        dropout: The probability that a channel of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    strides: tuple[int, ...]
    width: int = 256
    align_corners: bool = True
    dropout: float = 0.0
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    scores = False

    @property
    def used(self) -> tuple[int, ...]:
        """Which features are used, shallow to deep."""
        return tuple(i for i, stride in enumerate(self.strides) if stride >= 4)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[self.used[0]]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, width]`, of the size of the shallowest feature used."""
        normed = [
            LayerNorm(dtype=self.dtype, name=f"norm{n}")(features[i])
            for n, i in enumerate(self.used)
        ]
        *skips, deepest = normed
        state = self._context(deepest, train)
        levels = [state]
        for n, skip in enumerate(reversed(skips)):
            lateral = self._conv(f"lateral{n}", 1)(skip, train)
            state = add(lateral, resize_like(state, lateral))
            levels.append(self._conv(f"smooth{n}", 3)(state, train))
        levels = [resize_like(level, levels[-1]) for level in reversed(levels)]
        fused = self._conv("fuse", 3)(concat(levels), train)
        return SpatialDropout(self.dropout)(fused, train)

    def _context(self, x: FeatureMap, train: bool) -> FeatureMap:
        means = (self._conv(f"pool{bins}", 1)(adaptive_mean(x, bins), train) for bins in BINS)
        joined = concat([x, *(resize_like(mean, x) for mean in means)])
        return self._conv("context", 3)(joined, train)

    def _conv(self, name: str, kernel: int) -> ConvNormAct:
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        return ConvNormAct(self.width, kernel, name=name, **block)


def make_upernet(encoder: nn.Module, outputs: int, names: tuple[str, str], **options) -> UPerNet:
    """Builds a `UPerNet` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `UPerNet`.

    Raises:
        UserError: Fewer than two features at stride 4 or more.
    """
    del outputs
    decoder = UPerNet(tuple(encoder.strides), **options)
    if len(decoder.used) < 2:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs two "
            f"features at stride 4 or more, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return decoder
