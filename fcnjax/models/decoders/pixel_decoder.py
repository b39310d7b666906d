"""The pixel decoder of Mask2Former: deformable attention over three levels."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import (
    EPSILON,
    Conv,
    FeatureMap,
    GroupNorm,
    LayerNorm,
    activate,
    add,
    dropout,
    resize_like,
    zero_outside,
)
from fcnjax.models.layers.tokens.levels import join_levels, on_tokens, split_levels
from fcnjax.models.layers.tokens.sine_positions import sine_positions
from fcnjax.models.layers.transformer.deformable_attention import DeformableAttention

LEVELS = 3  # that are refined
_xavier = nn.initializers.xavier_uniform()


class PixelDecoder(nn.Module):
    """Refine the deepest features with a transformer, and make the pixels of the masks.

    Attributes:
        width: Channels of the levels.
        depth: Layers of deformable attention.
        hidden: Channels between their pointwise layers.
        heads: Attention heads.
        points: Points that the attention reads in each level, for each head.
        skips: Shallow features that are added to the shallowest level, from the first on.
        mask_width: Channels of the pixels of the masks.
        dropout: Probability of dropping a value, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    width: int
    depth: int
    hidden: int
    heads: int
    points: int
    skips: int
    mask_width: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, features: Sequence[FeatureMap], train: bool
    ) -> tuple[list[FeatureMap], FeatureMap]:
        """Return the levels, deepest first, and the pixels of the masks.

        Args:
            features: Shallow to deep; the last three are refined.
            train: Whether dropout is on.
        """
        conv = functools.partial(Conv, kernel=1, dtype=self.dtype, kernel_init=_xavier)
        norm = functools.partial(GroupNorm, self.dtype)
        levels = []
        for i, x in enumerate(reversed(features[-LEVELS:])):
            x = norm(name=f"project{i}_norm")(conv(self.width, name=f"project{i}")(x), train)
            levels.append(x.replace(data=zero_outside(x)))
        levels = self._refine(levels, train)
        y = levels[-1]
        for i in reversed(range(self.skips)):
            skip = conv(self.width, use_bias=False, name=f"lateral{i}")(features[i])
            skip = norm(name=f"lateral{i}_norm")(skip, train)
            y = add(skip, resize_like(y, skip))
            smooth = {"kernel": 3, "use_bias": False, "name": f"smooth{i}"}
            y = conv(self.width, **smooth)(y)
            y = norm(activation="relu", name=f"smooth{i}_norm")(y, train)
        return levels, conv(self.mask_width, name="mask")(y)

    def _refine(self, levels: list[FeatureMap], train: bool) -> list[FeatureMap]:
        table = self.param("level_embed", nn.initializers.normal(1.0), (LEVELS, self.width))
        batch = levels[0].data.shape[0]
        positions = []
        for level, embedding in zip(levels, table, strict=True):
            embedded = sine_positions(level, self.width) + embedding
            positions.append(jnp.broadcast_to(embedded, (batch, *embedded.shape[1:])))
        positions = join_levels(positions).astype(self.dtype)
        tokens = join_levels([level.data for level in levels])
        for i in range(self.depth):
            fields = (self.heads, self.points, self.hidden, self.dropout, self.dtype)
            tokens = PixelLayer(*fields, name=f"layer{i}")(tokens, positions, levels, train)
        return split_levels(tokens, levels)


class PixelLayer(nn.Module):
    """Deformable attention, then two pointwise layers, each with a residual sum and a layer norm.

    Attributes:
        heads, points: As in `DeformableAttention`.
        hidden, dropout, dtype: As in `PixelDecoder`.
    """

    heads: int
    points: int
    hidden: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, tokens: jax.Array, positions: jax.Array, levels: Sequence[FeatureMap], train: bool
    ) -> jax.Array:
        """Map the pixels of all levels `[B, T, C]` to the same shape."""
        drop = dropout(self.dropout, train)
        norm = functools.partial(LayerNorm, EPSILON, self.dtype)
        conv = functools.partial(Conv, kernel=1, dtype=self.dtype, kernel_init=_xavier)
        attend = DeformableAttention(self.heads, self.points, self.dtype, name="attention")
        attended = attend(tokens + positions, tokens, levels)
        tokens = on_tokens(norm(name="norm1"), tokens + drop(attended))
        x = FeatureMap(tokens[:, None])
        y = activate("relu", conv(self.hidden, name="expand")(x))
        y = conv(x.channels, name="contract")(y.replace(data=drop(y.data)))
        y = norm(name="norm2")(x.replace(data=x.data + drop(y.data)))
        return y.data[:, 0]
