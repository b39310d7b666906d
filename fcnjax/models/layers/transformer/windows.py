"""Self-attention within the windows of a map, which shift from layer to layer (Swin)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.attention import linear_init
from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.dropout import dropout
from fcnjax.models.layers.feature_map import FeatureMap, full_extent, zero_outside
from fcnjax.models.layers.transformer.dot_product import dot_product, split_heads


class WindowAttention(nn.Module):
    """Self-attention within windows (Liu et al. 2021, arXiv:2103.14030).

    The map is padded with zeros at its lower and right edges to whole windows. A shifted layer
    moves the windows down and to the right by `shift` pixels; the parts of windows that this cuts
    off at the edges do not see each other. A learned bias for each offset between two pixels of a
    window is added to their score. Each example has the windows that it has alone.

    Attributes:
        heads: Attention heads; they must divide the channels.
        side: Side of the windows.
        shift: Shift of the windows, less than `side`.
        use_bias: Whether queries, keys and values have a bias.
        dropout: Probability of dropping an attention weight, in training.
        dtype: Dtype of the computation; parameters and the softmax are float32.
    """

    heads: int
    side: int = 7
    shift: int = 0
    use_bias: bool = True
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        linear = {"kernel": 1, "kernel_init": linear_init, "dtype": self.dtype}
        padded = pad_to_multiple(x, self.side)
        options = {"use_bias": self.use_bias, "name": "query_key_value", **linear}
        tokens = roll(Conv(3 * x.channels, **options)(padded), self.shift)
        windows = split_windows(tokens.data, self.side)
        query, key, value = (split_heads(part, self.heads) for part in jnp.split(windows, 3, -1))
        shape = ((2 * self.side - 1) ** 2, self.heads)
        table = self.param("relative_position_bias_table", linear_init, shape)
        bias = relative_bias(table, self.side)
        mask = shift_mask(tokens, self.side, self.shift) if self.shift else None
        drop = dropout(self.dropout, train) if self.dropout else None
        windows = dot_product(query, key, value, bias, mask, drop)
        data = merge_windows(windows, tokens.size, self.side)
        data = roll(padded.replace(data=data), -self.shift).data
        y = x.replace(data=data[:, : x.size[0], : x.size[1]])
        return Conv(x.channels, name="project", **linear)(y)


def pad_to_multiple(x: FeatureMap, side: int) -> FeatureMap:
    """Add rows and columns of zeros at the end, until `side` divides the size of each example."""
    sizes = [-(-size // side) * side for size in x.size]
    pads = [(0, new - old, 0) for new, old in zip(sizes, x.size, strict=True)]
    data = lax.pad(zero_outside(x), jnp.zeros((), x.data.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    extent = None if x.extent is None else -(-x.extent // side) * side
    return x.replace(data=data, extent=extent)


def split_windows(data: jax.Array, side: int) -> jax.Array:
    """Return the windows of `[B, H, W, C]`, whose sides `side` divides, as `[B, N, side^2, C]`."""
    batch, height, width, channels = data.shape
    rows, columns = height // side, width // side
    data = data.reshape(batch, rows, side, columns, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return data.reshape(batch, rows * columns, side * side, channels)


def merge_windows(windows: jax.Array, size: tuple[int, int], side: int) -> jax.Array:
    """Invert `split_windows`: return `[B, *size, C]`."""
    batch, channels = windows.shape[0], windows.shape[-1]
    rows, columns = size[0] // side, size[1] // side
    data = windows.reshape(batch, rows, columns, side, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return data.reshape(batch, rows * side, columns * side, channels)


def roll(x: FeatureMap, shift: int) -> FeatureMap:
    """Move each example up and left by `shift` pixels; what leaves it enters at the other end.

    Outside its extent, a result repeats values of the example.
    """
    if shift == 0:
        return x
    if x.extent is None:
        return x.replace(data=jnp.roll(x.data, (-shift, -shift), (1, 2)))
    data = x.data
    for axis in (0, 1):
        index = (jnp.arange(x.size[axis]) + shift) % x.extent[:, axis, None]
        data = jax.vmap(lambda rows, i, axis=axis: jnp.take(rows, i, axis, mode="clip"))(
            data, index
        )
    return x.replace(data=data)


def relative_bias(table: jax.Array, side: int) -> jax.Array:
    """Return the bias of each pair of pixels of a window, `[heads, side^2, side^2]`.

    It is cut out in slices, whose gradient is reproducible, unlike that of a gather.

    Args:
        table: `[(2 side - 1)^2, heads]`, the bias of each vertical and horizontal offset from a key
            to its query, from `1 - side` on.
        side: Side of the windows.
    """
    heads, starts = table.shape[-1], range(side - 1, -1, -1)
    grid = table.reshape(2 * side - 1, 2 * side - 1, heads)[::-1, ::-1]
    # Query rows, key rows, offsets of columns; then query columns before them all.
    grid = jnp.stack([grid[start : start + side] for start in starts])
    grid = jnp.stack([grid[:, :, start : start + side] for start in starts])
    return grid.transpose(4, 1, 0, 2, 3).reshape(heads, side * side, side * side)


def shift_mask(x: FeatureMap, side: int, shift: int) -> jax.Array:
    """Return which pixels of a window are neighbours in the map, not only in the rolled one.

    Args:
        x: A map rolled by `shift`, of whole windows.
        side: Side of the windows.
        shift: More than 0.

    Returns:
        bool `[B or 1, N, 1, side^2, side^2]`.
    """
    sizes = full_extent(x)[: 1 if x.extent is None else None, :, None]
    parts = []
    for axis in (0, 1):
        # Of the last window, the end was rolled there from the beginning.
        is_rolled = jnp.arange(x.size[axis]) >= sizes[:, axis] - shift
        parts.append(is_rolled.astype(jnp.int32))
    rows, columns = parts
    part = 2 * rows[:, :, None, None] + columns[:, None, :, None]
    part = split_windows(part, side)[..., 0]
    return (part[..., :, None] == part[..., None, :])[:, :, None]
