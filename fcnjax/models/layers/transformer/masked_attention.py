"""Attention of queries to the pixels of their masks, and to each other."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.dropout import dropout
from fcnjax.models.layers.feature_map import FeatureMap, extent_mask
from fcnjax.models.layers.tokens.levels import on_tokens
from fcnjax.models.layers.transformer.dot_product import dot_product, split_heads

_xavier = nn.initializers.xavier_uniform()
# Of a matrix `[out, in]`.
_xavier_transposed = nn.initializers.xavier_uniform(in_axis=1, out_axis=0)


def visible_pixels(masks: FeatureMap) -> jax.Array:
    """Return where masks are positive, or everywhere where one is positive nowhere.

    Source: the masked attention of Mask2Former (Cheng et al. 2021, arXiv:2112.01527).

    Args:
        masks: Logits `[B, H, W, queries]`.

    Returns:
        bool `[B, queries, H W]`, false outside the extent. It has no gradient.
    """
    batch, queries = masks.data.shape[0], masks.channels
    visible = nn.sigmoid(lax.stop_gradient(masks.data)) >= 0.5
    valid = jnp.ones((), bool) if masks.extent is None else extent_mask(masks)
    visible = visible & valid
    visible = jnp.where(visible.any((1, 2), keepdims=True), visible, valid)
    return visible.reshape(batch, -1, queries).mT


class CrossAttention(nn.Module):
    """Attention of queries to pixels; one matrix projects both, as torch's MultiheadAttention.

    Attributes:
        heads: Attention heads; they must divide the channels.
        dropout: Probability of dropping an attention weight, in training.
        dtype: Dtype of the computation; parameters and the softmax are float32.
    """

    heads: int
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, query: jax.Array, key: jax.Array, value: jax.Array, visible: jax.Array, train: bool
    ) -> jax.Array:
        """Return `[B, T, C]`.

        Args:
            query: `[B, T, C]`.
            key: `[B, S, C]`.
            value: `[B, S, C]`.
            visible: bool `[B, T, S]`: the keys that each query sees, at least one.
            train: Whether dropout is on.
        """
        channels = query.shape[-1]
        weight = self.param("in_proj_weight", _xavier_transposed, (3 * channels, channels))
        bias = self.param("in_proj_bias", nn.initializers.zeros, (3 * channels,))
        projected = (
            jnp.einsum("btc,dc->btd", tokens, w.astype(self.dtype)) + b.astype(self.dtype)
            for tokens, w, b in zip(
                (query, key, value), jnp.split(weight, 3), jnp.split(bias, 3), strict=True
            )
        )
        query, key, value = (split_heads(tokens, self.heads) for tokens in projected)
        drop = dropout(self.dropout, train) if self.dropout else None
        attended = dot_product(query, key, value, mask=visible[:, None], drop=drop)
        project = Conv(channels, 1, dtype=self.dtype, kernel_init=_xavier, name="project")
        return on_tokens(project, attended)


class SelfAttention(nn.Module):
    """Attention of queries to each other.

    Attributes:
        heads, dropout, dtype: As in `CrossAttention`.
    """

    heads: int
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, positioned: jax.Array, train: bool) -> jax.Array:
        """Return `[B, T, C]`.

        Args:
            tokens: `[B, T, C]`, which give the values.
            positioned: `[B, T, C]`, those with position embeddings, which give queries and keys.
            train: Whether dropout is on.
        """
        channels = tokens.shape[-1]
        conv = functools.partial(Conv, channels, 1, dtype=self.dtype, kernel_init=_xavier)
        sources = {"query": positioned, "key": positioned, "value": tokens}
        query, key, value = (
            split_heads(on_tokens(conv(name=name), source), self.heads)
            for name, source in sources.items()
        )
        drop = dropout(self.dropout, train) if self.dropout else None
        return on_tokens(conv(name="project"), dot_product(query, key, value, drop=drop))
