"""Maps of several sizes as one sequence of pixels."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from fcnjax.models.layers.feature_map import FeatureMap, full_extent


def on_tokens(layer: Callable[..., FeatureMap], tokens: jax.Array, *args: bool) -> jax.Array:
    """Apply a layer that treats each pixel by itself to tokens `[B, T, C]`."""
    return layer(FeatureMap(tokens[:, None]), *args).data[:, 0]


def join_levels(levels: Sequence[jax.Array]) -> jax.Array:
    """Return the pixels of maps `[B, H, W, C]` of several sizes, one after another: `[B, T, C]`."""
    return jnp.concatenate(
        [level.reshape(level.shape[0], -1, level.shape[-1]) for level in levels], 1
    )


def split_levels(tokens: jax.Array, like: Sequence[FeatureMap]) -> list[FeatureMap]:
    """Invert `join_levels`: return maps of the sizes and extents of `like`."""
    maps, start = [], 0
    for each in like:
        height, width = each.size
        part = tokens[:, start : start + height * width]
        start += height * width
        data = part.reshape(tokens.shape[0], height, width, tokens.shape[-1])
        maps.append(FeatureMap(data, each.extent))
    return maps


def relative_positions(levels: Sequence[FeatureMap]) -> jax.Array:
    """Return the centre of each pixel of `join_levels`, as a fraction of its example's size.

    Returns:
        float32 `[B or 1, T, 2]`: the column, then the row.
    """
    grids = []
    for level in levels:
        sizes = level_sizes(level)
        rows, columns = (
            (jnp.arange(level.size[axis]) + 0.5) / sizes[:, 1 - axis, None] for axis in (0, 1)
        )
        shape = (sizes.shape[0], *level.size)
        pair = (columns[:, None, :], rows[:, :, None])
        grids.append(jnp.stack([jnp.broadcast_to(part, shape) for part in pair], -1))
    return join_levels(grids)


def level_sizes(level: FeatureMap) -> jax.Array:
    """Return the width and height of each example, float32 `[B, 2]`, or `[1, 2]` without extent."""
    sizes = full_extent(level)[: 1 if level.extent is None else None, ::-1]
    return sizes.astype(jnp.float32)
