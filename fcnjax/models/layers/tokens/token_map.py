"""Feature maps with tokens beside their pixels, and the sequences that transformers see of them."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from fcnjax.models.layers.feature_map import FeatureMap, extent_mask


@struct.dataclass
class TokenMap(FeatureMap):
    """A batch of feature maps with tokens that belong to no pixel, such as a class token.

    Attributes:
        data, extent, batch_factor: As in `FeatureMap`.
        tokens: `[B, N, C]`, all of them valid.
    """

    tokens: jax.Array | None = None


def to_sequence(x: TokenMap) -> FeatureMap:
    """Return the tokens, then the pixels row by row, as a map `[B, 1, N + H W, C]` of one row.

    Layers that treat each pixel by itself apply to it. It has no extent: `sequence_mask` tells
    which of its entries are valid.
    """
    batch, channels = x.data.shape[0], x.channels
    pixels = x.data.reshape(batch, 1, -1, channels)
    return FeatureMap(jnp.concatenate([x.tokens[:, None].astype(x.data.dtype), pixels], axis=2))


def from_sequence(sequence: FeatureMap, like: FeatureMap) -> TokenMap:
    """Return the map of the size and extent of `like` whose sequence this is."""
    batch, channels = sequence.data.shape[0], sequence.channels
    height, width = like.size
    count = sequence.size[1] - height * width
    pixels = sequence.data[:, 0, count:].reshape(batch, height, width, channels)
    return TokenMap(pixels, like.extent, tokens=sequence.data[:, 0, :count])


def prepend_tokens(tokens: jax.Array, sequence: FeatureMap) -> FeatureMap:
    """Put tokens `[N, C]`, the same for each example, before the entries of a sequence."""
    shape = (sequence.data.shape[0], 1, *tokens.shape)
    tokens = jnp.broadcast_to(tokens.astype(sequence.data.dtype), shape)
    return sequence.replace(data=jnp.concatenate([tokens, sequence.data], axis=2))


def sequence_mask(pixels: FeatureMap, count: int) -> jax.Array | None:
    """Return which entries of the sequence of a map with `count` tokens are valid, `[B, N + H W]`.

    None where all are.
    """
    if pixels.extent is None:
        return None
    valid = extent_mask(pixels).reshape(pixels.data.shape[0], -1)
    return jnp.pad(valid, ((0, 0), (count, 0)), constant_values=True)


class LearnedTokens(nn.Module):
    """Tokens that are parameters.

    Attributes:
        count: How many.
        width: Their channels.
        deviation: Standard deviation of their initial values.
    """

    count: int
    width: int
    deviation: float = 0.02

    @nn.compact
    def __call__(self) -> jax.Array:
        """Return `[count, width]`."""
        init = nn.initializers.normal(self.deviation)
        return self.param("embedding", init, (self.count, self.width))
