"""The transformer decoder of Mask2Former: queries that attend to the pixels of their masks."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.decoders.pixel_decoder import LEVELS
from fcnjax.models.layers import (
    ACTIVATIONS,
    EPSILON,
    Conv,
    FeatureMap,
    LayerNorm,
    dropout,
    lecun_normal,
    resize_like,
    zero_outside,
)
from fcnjax.models.layers.tokens.levels import on_tokens
from fcnjax.models.layers.tokens.sine_positions import sine_positions
from fcnjax.models.layers.transformer.masked_attention import (
    CrossAttention,
    SelfAttention,
    visible_pixels,
)

_xavier = nn.initializers.xavier_uniform()
_embedding_init = nn.initializers.normal(1.0)


class QueryDecoder(nn.Module):
    """Predict a class and a mask for each query.

    Each layer reads one level, the deepest first, where the mask that the query had before is
    positive.

    Attributes:
        classes: Classes, with that of no object.
        width: Channels of the queries.
        depth: Layers.
        hidden: Channels between their pointwise layers.
        queries: Number of queries.
        heads: Attention heads.
        activation: A name in `ACTIVATIONS`, between the pointwise layers.
        pre_norm: Whether layer norms come before the layers, not after their residual sum.
        project_inputs: Whether levels that have `width` channels are projected too.
        dropout: Probability of dropping a value, or an attention weight, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    classes: int
    width: int
    depth: int
    hidden: int
    queries: int
    heads: int
    activation: str
    pre_norm: bool
    project_inputs: bool
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, levels: Sequence[FeatureMap], pixels: FeatureMap, train: bool
    ) -> tuple[jax.Array, FeatureMap]:
        """Return class logits `[B, queries, classes]` and mask logits `[B, h, w, queries]`.

        Args:
            levels: Maps that the queries attend to, deepest first.
            pixels: Map that is multiplied with the queries.
            train: Whether dropout is on.
        """
        values, positions = self._embed_levels(levels)
        shape = (pixels.data.shape[0], self.queries, self.width)
        query_positions, tokens = (
            jnp.broadcast_to(self.param(name, _embedding_init, shape[1:]), shape).astype(self.dtype)
            for name in ("query_positions", "query_features")
        )
        norm = LayerNorm(EPSILON, self.dtype, name="norm")
        mask_layers = self._mask_layers(pixels.channels)
        normed = on_tokens(norm, tokens)
        masks = self._masks(mask_layers, normed, pixels)
        for i in range(self.depth):
            level = i % LEVELS
            visible = visible_pixels(resize_like(masks, levels[level]))
            fields = (self.heads, self.hidden, self.activation, self.pre_norm, self.dropout)
            layer = QueryLayer(*fields, self.dtype, name=f"layer{i}")
            tokens = layer(
                tokens, query_positions, (values[level], positions[level], visible), train
            )
            normed = on_tokens(norm, tokens)
            masks = self._masks(mask_layers, normed, pixels)
        options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": "classes"}
        classes = on_tokens(Conv(self.classes, 1, **options), normed)
        return classes.astype(jnp.float32), masks

    def _embed_levels(
        self, levels: Sequence[FeatureMap]
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """Return the pixels of each level, `[B, T, width]`, and their position embeddings."""
        table = self.param("level_embeddings", _embedding_init, (LEVELS, self.width))
        values, positions = [], []
        for i, level in enumerate(levels):
            x = level
            if self.project_inputs or level.channels != self.width:
                options = {"dtype": self.dtype, "kernel_init": _xavier, "name": f"project{i}"}
                x = Conv(self.width, 1, **options)(level)
            data = zero_outside(x) + table[i].astype(self.dtype)
            values.append(data.reshape(data.shape[0], -1, self.width))
            sines = sine_positions(level, self.width).astype(self.dtype)
            positions.append(sines.reshape(sines.shape[0], -1, self.width))
        return values, positions

    def _mask_layers(self, width: int) -> list[Conv]:
        """Return the layers that make the vector of a query's mask."""
        options = {"dtype": self.dtype, "kernel_init": lecun_normal}
        widths = (self.width, self.width, width)
        return [Conv(width, 1, name=f"mask{i}", **options) for i, width in enumerate(widths)]

    def _masks(
        self, layers: Sequence[Callable], tokens: jax.Array, pixels: FeatureMap
    ) -> FeatureMap:
        for i, layer in enumerate(layers):
            tokens = on_tokens(layer, tokens)
            tokens = nn.relu(tokens) if i < len(layers) - 1 else tokens
        options = {"preferred_element_type": jnp.float32}
        return pixels.replace(data=jnp.einsum("bhwc,bqc->bhwq", pixels.data, tokens, **options))


class QueryLayer(nn.Module):
    """Attention to the pixels, attention among the queries, then two pointwise layers.

    Attributes:
        heads, hidden, activation, pre_norm, dropout, dtype: As in `QueryDecoder`.
    """

    heads: int
    hidden: int
    activation: str
    pre_norm: bool
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        query_positions: jax.Array,
        level: tuple[jax.Array, jax.Array, jax.Array],
        train: bool,
    ) -> jax.Array:
        """Return the queries after the layer, `[B, queries, C]`.

        Args:
            tokens: `[B, queries, C]`.
            query_positions: `[B, queries, C]`, their position embeddings.
            level: The pixels `[B, T, C]`, their position embeddings, and bool `[B, queries, T]`:
                the pixels that each query sees.
            train: Whether dropout is on.
        """
        pixels, positions, visible = level
        fields = (self.heads, self.dropout, self.dtype)
        cross = CrossAttention(*fields, name="cross_attention")
        attend = SelfAttention(*fields, name="self_attention")

        def read_pixels(x: jax.Array) -> jax.Array:
            return cross(x + query_positions, pixels + positions, pixels, visible, train)

        x = self._residual("cross_norm", tokens, read_pixels, train)
        x = self._residual("self_norm", x, lambda x: attend(x, x + query_positions, train), train)
        return self._residual("norm", x, functools.partial(self._mix_channels, train=train), train)

    def _residual(
        self, name: str, x: jax.Array, branch: Callable[[jax.Array], jax.Array], train: bool
    ) -> jax.Array:
        """Add a branch, with layer norm before it or after the sum."""
        norm = functools.partial(on_tokens, LayerNorm(EPSILON, self.dtype, name=name))
        drop = dropout(self.dropout, train)
        if self.pre_norm:
            return x + drop(branch(norm(x)))
        return norm(x + drop(branch(x)))

    def _mix_channels(self, x: jax.Array, train: bool) -> jax.Array:
        options = {"dtype": self.dtype, "kernel_init": _xavier}
        y = on_tokens(Conv(self.hidden, 1, name="expand", **options), x)
        y = dropout(self.dropout, train)(ACTIVATIONS[self.activation](y))
        return on_tokens(Conv(x.shape[-1], 1, name="contract", **options), y)
