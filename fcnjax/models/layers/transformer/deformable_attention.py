"""Multi-scale deformable attention."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.tokens.levels import (
    level_sizes,
    on_tokens,
    relative_positions,
    split_levels,
)
from fcnjax.models.layers.transformer.dot_product import split_heads

_xavier = nn.initializers.xavier_uniform()


class DeformableAttention(nn.Module):
    """Attention of each pixel to a few points of each level (Zhu et al. 2020, arXiv:2010.04159).

    A pixel predicts offsets from its own position in each level, and a weight for each of these
    points. Values between pixels are interpolated; those outside an example are zero.

    Attributes:
        heads: Attention heads; they must divide the channels.
        points: Points of each head in each level.
        dtype: Dtype of the computation; parameters, positions and the softmax are float32.
    """

    heads: int
    points: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, query: jax.Array, tokens: jax.Array, levels: Sequence[FeatureMap]
    ) -> jax.Array:
        """Return `[B, T, C]`.

        Args:
            query: `[B, T, C]`, the pixels of all levels with their position embeddings.
            tokens: `[B, T, C]`, the pixels without them, finite even outside the extents.
            levels: Maps of the size and extent of each level; their data are not used.
        """
        shape = (*query.shape[:2], self.heads, len(levels), self.points)
        channels = query.shape[-1]
        count = self.heads * len(levels) * self.points
        zeros = {"kernel": 1, "kernel_init": nn.initializers.zeros}
        # The offsets begin as directions that differ by head.
        directions = _directions(*shape[2:]).ravel()
        options = {"bias_init": lambda *_: jnp.asarray(directions), "name": "sampling_offsets"}
        offsets = on_tokens(Conv(2 * count, **zeros, **options), query).reshape(*shape, 2)
        options = {"dtype": self.dtype, "name": "attention_weights"}
        weights = on_tokens(Conv(count, **zeros, **options), query)
        weights = weights.astype(jnp.float32).reshape(*shape[:3], -1)
        weights = jax.nn.softmax(weights).reshape(shape)
        linear = {"kernel_init": _xavier, "dtype": self.dtype}
        values = split_levels(on_tokens(Conv(channels, 1, name="value", **linear), tokens), levels)
        centers = relative_positions(levels)[:, :, None, None]
        result = 0
        for i, level in enumerate(values):
            sizes = level_sizes(level)[:, None, None, None]
            positions = centers * sizes + offsets[:, :, :, i] - 0.5
            result = result + sample_points(level, positions, weights[:, :, :, i])
        return on_tokens(Conv(channels, 1, name="project", **linear), result.astype(self.dtype))


def _directions(heads: int, levels: int, points: int) -> np.ndarray:
    """Return offsets `[heads, levels, points, 2]`: point i is i + 1 pixels away."""
    angles = 2 * np.pi * np.arange(heads) / heads
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)
    directions /= np.abs(directions).max(-1, keepdims=True)
    distances = np.arange(1, points + 1)[:, None]
    offsets = np.broadcast_to(directions[:, None, None] * distances, (heads, levels, points, 2))
    return offsets.astype(np.float32)


def sample_points(values: FeatureMap, positions: jax.Array, weights: jax.Array) -> jax.Array:
    """Return weighted sums of values at points, interpolated bilinearly, zero outside the extent.

    As torch's `grid_sample` with align_corners=False.

    Args:
        values: `[B, H, W, C]`, finite even outside its extent.
        positions: float32 `[B, T, heads, P, 2]`, x and y in pixels; 0 is the first one's centre.
        weights: float32 `[B, T, heads, P]`.

    Returns:
        float32 `[B, T, C]`; each head reads its own part of the channels.
    """
    height, width = values.size
    sizes = level_sizes(values)[:, None, None, None]
    low = jnp.floor(positions)
    fraction = positions - low
    indices, factors = [], []
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        index = low + jnp.asarray(corner, jnp.float32)
        inside = ((index >= 0) & (index < sizes)).all(-1)
        share = jnp.where(jnp.asarray(corner, bool), fraction, 1 - fraction)
        factors.append(jnp.where(inside, share[..., 0] * share[..., 1] * weights, 0))
        column, row = (
            jnp.clip(index[..., i], 0, side - 1).astype(jnp.int32)
            for i, side in enumerate((width, height))
        )
        indices.append(row * width + column)
    shape = (*positions.shape[:3], -1)
    index, factor = (jnp.stack(part, -1).reshape(shape) for part in (indices, factors))
    heads = positions.shape[2]
    data = split_heads(values.data.reshape(values.data.shape[0], height * width, -1), heads)
    # For each example and head: [pixels, channels] at [T, P].
    pick = jax.vmap(jax.vmap(lambda rows, i: jnp.take(rows, i, 0, mode="clip"), 1, 1))
    picked = pick(data, index)
    options = {"preferred_element_type": jnp.float32}
    result = jnp.einsum("bthp,bthpd->bthd", factor, picked.astype(jnp.float32), **options)
    return result.reshape(*result.shape[:2], values.channels)
