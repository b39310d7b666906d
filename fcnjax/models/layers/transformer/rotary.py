"""Rotary position embeddings of the pixels of a map (Su et al. 2021, arXiv:2104.09864)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.models.layers.feature_map import FeatureMap, full_extent


class Rotation(NamedTuple):
    """Cosine and sine of the angles by which queries and keys are turned.

    Attributes:
        cosine, sine: float32 `[B or 1, T, D]`, of each entry of a sequence and each channel of a
            head.
    """

    cosine: jax.Array
    sine: jax.Array


def grid_coordinates(x: FeatureMap) -> jax.Array:
    """Return the row and column of the centre of each pixel, from -1 to 1 in its own extent.

    Returns:
        float32 `[B, H W, 2]`; `[1, H W, 2]` where the map has no extent.
    """
    height, width = x.size
    sides = full_extent(x if x.extent is not None else FeatureMap(x.data[:1]))
    rows, columns = (
        2 * ((jnp.arange(size) + 0.5) / sides[:, axis, None].astype(jnp.float32)) - 1
        for axis, size in enumerate((height, width))
    )
    shape = (sides.shape[0], height, width)
    grid = (rows[:, :, None], columns[:, None, :])
    stacked = jnp.stack([jnp.broadcast_to(each, shape) for each in grid], axis=-1)
    return stacked.reshape(shape[0], -1, 2)


def axial_rotation(coordinates: jax.Array, depth: int, base: float) -> Rotation:
    """Return the rotation of pixels, half of it by their row and half by their column, as DINOv3.

    Source: Simeoni et al. 2025, arXiv:2508.10104.

    Args:
        coordinates: `[B, T, 2]` in -1..1, as `grid_coordinates` returns them.
        depth: Channels of a head, a multiple of 4.
        base: The periods grow geometrically up to nearly this.
    """
    frequencies = (1 / base ** np.arange(0, 1, 4 / depth, dtype=np.float32)).astype(np.float32)
    angles = 2 * math.pi * coordinates[..., None] * frequencies
    angles = jnp.tile(angles.reshape(*angles.shape[:2], -1), 2)
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def pass_tokens(rotation: Rotation, count: int) -> Rotation:
    """Return the rotation of a sequence that begins with `count` tokens, which are not turned."""
    pads = ((0, 0), (count, 0), (0, 0))
    cosine = jnp.pad(rotation.cosine, pads, constant_values=1)
    return Rotation(cosine, jnp.pad(rotation.sine, pads))


def rotate(vectors: jax.Array, rotation: Rotation) -> jax.Array:
    """Turn queries or keys `[B, 1, T, heads, D]`; the first half of D pairs with the second."""
    cosine, sine = (each[:, None, :, None, :] for each in rotation)
    first, second = jnp.split(vectors.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([-second, first], axis=-1)
    return (vectors * cosine + turned * sine).astype(vectors.dtype)


def augment_coordinates(
    key: jax.Array, coordinates: jax.Array, shift: float, jitter: float, rescale: float
) -> jax.Array:
    """Return coordinates `[B, T, 2]` shifted and scaled at random, the same for a batch, as DINOv3.

    Args:
        key: PRNG key.
        coordinates: As `grid_coordinates` returns them.
        shift: Each axis is shifted by up to this; 0 does not.
        jitter: Each axis is scaled by a factor from `1 / jitter` to `jitter`; 1 does not.
        rescale: Both axes are scaled by a common factor from `1 / rescale` to `rescale`.
    """
    shift_key, jitter_key, rescale_key = jax.random.split(key, 3)
    shifts = jax.random.uniform(shift_key, (2,), minval=-1, maxval=1) * shift
    factors = jnp.exp(jax.random.uniform(jitter_key, (2,), minval=-1, maxval=1) * math.log(jitter))
    factor = jnp.exp(jax.random.uniform(rescale_key, (), minval=-1, maxval=1) * math.log(rescale))
    return (coordinates + shifts) * factors * factor
