"""Relative position bias of plain vision transformers."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.attention import linear_init
from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.tokens.interpolation import axis_sizes, linear_weights, multiply_grid


class RelativePositionBias(nn.Module):
    """A bias of attention logits for each offset from a query's patch to a key's, as in BEiT.

    Bao et al. 2021, arXiv:2106.08254. The table has a value for each offset in a window, and three
    for pairs with the class token. For images of another size the offsets are interpolated, as in
    MiDaS 3.1 (Birkl et al. 2023, arXiv:2307.14460) and transformers.

    Attributes:
        window: Rows and columns of patches that the table is made for.
        heads: Attention heads.
        dtype: Dtype of the result.
    """

    window: tuple[int, int]
    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, patches: FeatureMap) -> jax.Array:
        """Return the bias `[B, heads, N, N]` of the tokens of `patches` (N = 1 + H W).

        The batch axis has length 1 where `patches` has no extent. Values at tokens outside an
        extent are meaningless.
        """
        rows, columns = (2 * side - 1 for side in self.window)
        table = self.param("table", linear_init, (rows * columns + 3, self.heads))
        # The order of the axes is that of transformers, which differs if the window is no square.
        offsets = table[:-3].reshape(columns, rows, self.heads)
        weights = (self._weights(patches, axis, offsets.shape[axis - 1]) for axis in (1, 2))
        bias = multiply_grid(*weights, offsets).astype(self.dtype).transpose(0, 3, 1, 2)
        bias = pairs_of_offsets(pairs_of_offsets(bias, 2), 4)  # [B, heads, H, H, W, W]
        height, width = patches.size
        bias = bias.transpose(0, 1, 2, 4, 3, 5)
        bias = bias.reshape(*bias.shape[:2], height * width, height * width)
        return self._with_class_token(bias, table[-3:].astype(self.dtype))

    def _weights(self, patches: FeatureMap, axis: int, size: int) -> jax.Array:
        """Return weights `[B, 2 n - 1, size]` that interpolate the table for an axis of length n.

        Offset 0 is in the middle for all examples, whatever their extent.
        """
        length = patches.size[axis - 1]
        true_length = axis_sizes(patches, axis)[:, None]
        index = jnp.arange(2 * length - 1)[None] - length + true_length
        return linear_weights(index, size, 2 * true_length - 1)

    def _with_class_token(self, bias: jax.Array, values: jax.Array) -> jax.Array:
        """Add the row and the column of the class token before those of the patches.

        Args:
            bias: `[B, heads, N - 1, N - 1]`.
            values: `[3, heads]`, for queries and keys: class to patch, patch to class, and class to
                class.
        """
        batch, heads, count, _ = bias.shape
        to_patch, to_class, to_itself = values[:, None, :, None, None]
        column = jnp.broadcast_to(to_class, (batch, heads, count, 1))
        first = (
            jnp.broadcast_to(to_itself, (batch, heads, 1, 1)),
            jnp.broadcast_to(to_patch, (batch, heads, 1, count)),
        )
        below = jnp.concatenate([column, bias], axis=-1)
        return jnp.concatenate([jnp.concatenate(first, axis=-1), below], axis=-2)


def pairs_of_offsets(x: jax.Array, axis: int) -> jax.Array:
    """Turn an axis of `2 n - 1` offsets into two of length n: a query's and a key's position.

    Entry (i, j) is that of the offset `i - j`, which is at `i - j + n - 1`. Copies of the reversed
    offsets with one value between them, read in rows of `2 n - 1`, are each moved by one: no gather
    is needed, whose gradient would be a slow scatter.
    """
    n = (x.shape[axis] + 1) // 2
    if not isinstance(n, int):  # a symbol, whose square cannot be sliced; it has no gradient
        position = jnp.arange(n)
        return jnp.take(x, position[:, None] - position + n - 1, axis=axis, mode="clip")
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    pads = [(0, int(i == axis), 0) for i in range(x.ndim)]
    padded = lax.pad(lax.rev(x, (axis,)), jnp.zeros((), x.dtype), pads)
    copies = jnp.broadcast_to(jnp.expand_dims(padded, axis), (*before, n, 2 * n, *after))
    flat = copies.reshape(*before, 2 * n * n, *after)
    flat = lax.slice_in_dim(flat, 0, n * (2 * n - 1), axis=axis)
    shifted = flat.reshape(*before, n, 2 * n - 1, *after)
    return lax.slice_in_dim(shifted, n - 1, 2 * n - 1, axis=axis + 1)
