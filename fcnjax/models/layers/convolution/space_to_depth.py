"""Maps as cells of pixels: the views that pooling and transposed convolutions are made of."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax


def space_to_depth(data: jax.Array, side: int) -> list[jax.Array]:
    """The first pixel of each cell of `side * side`, the second, ..., by rows.

    Args:
        data: `[B, H, W, C]`, whose sides `side` divides.
        side: Of the cells.

    Returns:
        `side * side` maps `[B, H / side, W / side, C]`.
    """
    steps = (1, side, side, 1)
    return [
        lax.slice(data, (0, i, j, 0), data.shape, steps) for i in range(side) for j in range(side)
    ]


def interleave(pixels: Sequence[jax.Array], side: int) -> jax.Array:
    """Inverse of `space_to_depth`: maps `[B, h, w, C]` to one `[B, h side, w side, C]`."""
    batch, height, width, channels = pixels[0].shape
    rows = [jnp.stack(pixels[i : i + side], 3) for i in range(0, side * side, side)]
    return jnp.stack(rows, 2).reshape(batch, height * side, width * side, channels)


def first_argmax(pixels: Sequence[jax.Array], greatest: jax.Array) -> Iterator[jax.Array]:
    """For each pixel of the cells, where it is their greatest: of equal ones the first alone."""
    taken = jnp.zeros(greatest.shape, bool)
    for pixel in pixels:
        wins = (pixel == greatest) & ~taken
        yield wins
        taken |= wins
