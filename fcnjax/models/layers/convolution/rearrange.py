"""Maps rearranged by blocks of pixels: into the batch, and into separate maps."""

import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.platform import current_platform


def space_to_batch_factor(x: FeatureMap, dilations: Sequence[int], train: bool) -> int:
    """Return the factor that makes convolutions of these dilations plain, or the least dilated.

    It is 1 in inference, which has no gradients to speed up, and where the columns, or the rows of
    each device, are not divisible by it: sharded rows would have to be exchanged.
    """
    batch_factor = math.gcd(*dilations)
    parts = (batch_factor * current_platform().spatial, batch_factor)
    divides = all(
        side * x.batch_factor % part == 0 for side, part in zip(x.size, parts, strict=True)
    )
    return batch_factor if train and x.extent is None and divides else 1


def space_to_batch(x: FeatureMap, batch_factor: int) -> FeatureMap:
    """Rearrange a map to another factor; 1 restores the plain map.

    With factor n, each of the n * n phases of the map becomes an example: `[B n n, H / n, W / n,
    C]`, in which pixels that were n apart are neighbours. A convolution with dilation n has
    dilation 1 there, and elementwise layers are unaffected. XLA's gradients of dilated convolutions
    are slow.

    Args:
        x: A map without an extent, whose sides `batch_factor` divides.
        batch_factor: The new factor.
    """
    if batch_factor == x.batch_factor:
        return x
    data = x.data
    if (n := x.batch_factor) > 1:
        (height, width), channels = x.size, x.channels
        data = data.reshape(-1, n, n, height, width, channels).transpose(0, 3, 1, 4, 2, 5)
        data = data.reshape(-1, height * n, width * n, channels)
    if (n := batch_factor) > 1:
        batch, height, width, channels = data.shape
        data = data.reshape(batch, height // n, n, width // n, n, channels)
        data = data.transpose(0, 2, 4, 1, 3, 5)
        data = data.reshape(batch * n * n, height // n, width // n, channels)
    return x.replace(data=data, batch_factor=batch_factor)


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


def first_argmax(pixels: Sequence[jax.Array]) -> Iterator[jax.Array]:
    """Yield, for each pixel position, a mask of where it is the block's first maximum.

    Exactly one position of a block is. Equality with the maximum would not ensure that: XLA may
    compute the pixels again for each comparison, and round them differently.
    """
    best, index = pixels[0], jnp.zeros(pixels[0].shape, jnp.int32)
    for position, pixel in enumerate(pixels[1:], start=1):
        index = jnp.where(pixel > best, position, index)
        best = jnp.maximum(best, pixel)
    for position in range(len(pixels)):
        yield index == position
