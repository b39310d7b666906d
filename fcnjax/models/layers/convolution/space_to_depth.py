"""Maps split into blocks of pixels, for pooling and transposed convolutions."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax


def space_to_depth(data: jax.Array, side: int) -> list[jax.Array]:
    """Return a map of each pixel position in blocks of `side * side`, in row-major order.

    Args:
        data: `[B, H, W, C]`, whose sides `side` divides.
        side: Side of the blocks.

    Returns:
        `side * side` maps `[B, H / side, W / side, C]`.
    """
    steps = (1, side, side, 1)
    return [
        lax.slice(data, (0, i, j, 0), data.shape, steps) for i in range(side) for j in range(side)
    ]


def depth_to_space(pixels: Sequence[jax.Array], side: int) -> jax.Array:
    """Invert `space_to_depth`: maps `[B, h, w, C]` to one `[B, h side, w side, C]`."""
    batch, height, width, channels = pixels[0].shape
    rows = [jnp.stack(pixels[i : i + side], 3) for i in range(0, side * side, side)]
    return jnp.stack(rows, 2).reshape(batch, height * side, width * side, channels)


def first_argmax(pixels: Sequence[jax.Array], maximum: jax.Array) -> Iterator[jax.Array]:
    """Yield, for each pixel position, a mask of where it is the block's first maximum."""
    taken = jnp.zeros(maximum.shape, bool)
    for pixel in pixels:
        is_first = (pixel == maximum) & ~taken
        yield is_first
        taken |= is_first
