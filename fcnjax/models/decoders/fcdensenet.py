"""The path up of FC-DenseNet."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.encoders.fcdensenet import DROPOUT, DenseBlock, FCDenseNet
from fcnjax.models.layers import Conv, ConvTranspose3x3, FeatureMap, concat, crop_or_pad_like

# Over encoders that give nothing to mirror: those of FC-DenseNet67.
DEPTH, GROWTH = 5, 16


class FCDenseNetUp(nn.Module):
    """The path up of FC-DenseNet (Jegou et al. 2017, arXiv:1611.09326).

    From the deepest feature up: a transposed convolution doubles the size, the skip is joined, and
    a dense block follows. Only what the block adds goes on to the next step; the last one's result
    keeps what it was given too. It begins with the whole of the deepest feature, which from
    `FCDenseNet` is what its bottleneck adds.

    Attributes:
        depths: Layers of each dense block, deep to shallow.
        strides: Of the encoder's features, shallow to deep.
        width: Channels of the first transposed convolution; the others keep theirs.
        growth: Channels that a layer adds.
        dropout: The probability that a value is dropped after each convolution in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    depths: tuple[int, ...]
    strides: tuple[int, ...]
    width: int
    growth: int = GROWTH
    dropout: float = DROPOUT
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    scores = False

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.strides[0]

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to `[B, h, w, C]`, of the size of its shallowest feature."""
        common = {
            "dropout": self.dropout,
            "norm": self.norm,
            "activation": self.activation,
            "dtype": self.dtype,
        }
        new, x, width = features[-1], features[-1], self.width
        skips = list(range(len(features) - 1))
        for i, (level, depth) in enumerate(zip(reversed(skips), self.depths, strict=True), start=1):
            skip = features[level]
            doubles = self.strides[level] < self.strides[level + 1]
            # A dilated encoder's neighbours have one size.
            enlarge = ConvTranspose3x3 if doubles else Conv
            up = enlarge(width, dtype=self.dtype, name=f"up{i}")(new)
            x = concat([crop_or_pad_like(up, skip), skip])
            new = DenseBlock(depth, self.growth, name=f"block{i}", **common)(x, train)
            width = new.channels
            x = concat([x, new])
        return x


def make_fcdensenet(
    encoder: nn.Module,
    outputs: int,
    names: tuple[str, str],
    depths: tuple[int, ...] | None = None,
    growth: int | None = None,
    **options,
) -> FCDenseNetUp:
    """Builds an `FCDenseNetUp` over `encoder`, which it mirrors where that is an `FCDenseNet`.

    Args:
        encoder: What it decodes.
        outputs: Unused: the segmenter's head scores.
        names: Of the encoder and of this decoder, for messages.
        depths: As in `FCDenseNetUp`; None: the encoder's, or 5 each.
        growth: As in `FCDenseNetUp`; None: the encoder's, or 16.
        **options: Other fields of `FCDenseNetUp`.

    Raises:
        UserError: Not one depth for each skip.
    """
    del outputs
    mirrors = isinstance(encoder, FCDenseNet)
    count = len(encoder.strides) - 1
    default = tuple(reversed(encoder.depths[:-1])) if mirrors else (DEPTH,) * count
    depths = default if depths is None else depths
    if len(depths) != count:
        raise UserError(
            f"config.model.decoder_depths: {len(depths)} depths; {names[1]} over encoder "
            f"{names[0]} needs {count}, deep first, such as {default}"
        )
    if growth is None:
        growth = encoder.growth if mirrors else GROWTH
    # The paper's transposed convolutions keep the channels; of a wide feature that is too many.
    width = encoder.channels[-1] if mirrors else growth * DEPTH
    return FCDenseNetUp(depths, tuple(encoder.strides), width, growth, **options)
