"""Attention among pixels at the same position of their patches (MobileViT)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.attention import linear_init
from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.dropout import dropout
from fcnjax.models.layers.feature_map import FeatureMap, extent_mask, max_dim, zero_outside
from fcnjax.models.layers.transformer.dot_product import dot_product, split_heads
from fcnjax.models.layers.transformer.windows import merge_windows, split_windows


class PatchAttention(nn.Module):
    """Self-attention of MobileViT (Mehta and Rastegari 2022, arXiv:2110.02178).

    A pixel sees the pixels that lie at its own position in their patches.

    Attributes:
        heads: Attention heads; they must divide the channels.
        patch: Side of the patches, which must divide the sides of the map and of each extent.
        use_bias: Whether queries, keys and values have a bias.
        dropout: Probability of dropping an attention weight, in training.
        dtype: Dtype of the computation; parameters and the softmax are float32.
    """

    heads: int
    patch: int = 2
    use_bias: bool = True
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        linear = {"kernel": 1, "kernel_init": linear_init, "dtype": self.dtype}
        options = {"use_bias": self.use_bias, "name": "query_key_value", **linear}
        tokens = Conv(3 * x.channels, **options)(x)
        parts = jnp.split(split_positions(zero_outside(tokens), self.patch), 3, -1)
        query, key, value = (split_heads(part, self.heads) for part in parts)
        mask = None
        if x.extent is not None:
            mask = split_positions(extent_mask(x), self.patch)[..., 0][:, :, None, None]
        drop = dropout(self.dropout, train) if self.dropout else None
        result = dot_product(query, key, value, mask=mask, drop=drop)
        data = merge_positions(result, x.size, self.patch)
        return Conv(x.channels, name="project", **linear)(x.replace(data=data))


class SeparableAttention(nn.Module):
    """Separable self-attention of MobileViTV2 (Mehta and Rastegari 2022, arXiv:2206.02680).

    One score for each pixel weighs the keys of all pixels at the same position in their patches.
    The sum gates the values, so that the cost is linear in the number of pixels.

    Attributes:
        patch: As in `PatchAttention`.
        dropout: Probability of dropping a score, in training.
        dtype: Dtype of the computation; parameters and the softmax are float32.
    """

    patch: int = 2
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        width = x.channels
        linear = {"kernel": 1, "kernel_init": linear_init, "dtype": self.dtype}
        tokens = Conv(1 + 2 * width, name="query_key_value", **linear)(x)
        parts = split_positions(zero_outside(tokens), self.patch)
        query, key, value = parts[..., :1], parts[..., 1 : 1 + width], parts[..., 1 + width :]
        scores = query.astype(jnp.float32)
        if x.extent is not None:
            mask = split_positions(extent_mask(x), self.patch)
            scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
        scores = jax.nn.softmax(scores, axis=2).astype(self.dtype)
        if self.dropout:
            scores = dropout(self.dropout, train)(scores)
        context = (key * scores).sum(2, keepdims=True)
        data = merge_positions(nn.relu(value) * context, x.size, self.patch)
        return Conv(width, name="project", **linear)(x.replace(data=data))


def split_positions(data: jax.Array, patch: int) -> jax.Array:
    """Return `[B, H, W, C]` as `[B, patch^2, N, C]`: by position in a patch, then by patch."""
    return split_windows(data, patch).swapaxes(1, 2)


def merge_positions(data: jax.Array, size: tuple[int, int], patch: int) -> jax.Array:
    """Invert `split_positions`: return `[B, *size, C]`."""
    return merge_windows(data.swapaxes(1, 2), size, patch)


def round_up_map(x: FeatureMap, multiple: int) -> FeatureMap:
    """Return a map without channels whose sides are the next multiples of `multiple`."""

    def round_up(size):
        return -(-size // multiple) * multiple

    shape = (x.data.shape[0], *map(round_up, x.size), 0)
    extent = None if x.extent is None else round_up(x.extent)
    return FeatureMap(jnp.zeros(shape, x.data.dtype), extent)


def crop_to_multiple(x: FeatureMap, multiple: int) -> FeatureMap:
    """Crop the lower and right edges of each example to a multiple of `multiple`.

    Where an example is smaller, zeros are added.
    """

    def round_down(size):  # of the types that `max_dim` takes
        return max_dim(size // multiple, 1) * multiple

    data = resize_canvas(zero_outside(x), tuple(map(round_down, x.size)))
    return x.replace(data=data, extent=None if x.extent is None else round_down(x.extent))


def restore_size(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Invert `crop_to_multiple`: crop, or add zeros, to the size and extent of `like`."""
    return FeatureMap(resize_canvas(zero_outside(x), like.size), like.extent)


def resize_canvas(data: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Crop `[B, H, W, C]` at the lower and right edges, or add zeros there, to a size."""
    pads = [(0, new - old, 0) for new, old in zip(size, data.shape[1:3], strict=True)]
    return lax.pad(data, jnp.zeros((), data.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
