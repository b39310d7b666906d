"""Position embeddings of sines and cosines."""

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.models.layers.feature_map import FeatureMap, full_extent

_TEMPERATURE = 10_000
_EPSILON = 1e-6


def sine_positions(x: FeatureMap, channels: int) -> jax.Array:
    """Return embeddings of the rows, then of the columns, of a map, as DETR has them.

    Positions run from 0 to 2 pi within each example. Source: Carion et al. 2020, arXiv:2005.12872.

    Args:
        x: A map; its data are not used.
        channels: Channels of the result, a multiple of 4.

    Returns:
        float32 `[B, H, W, channels]`, or `[1, H, W, channels]` where `x` has no extent.
    """
    half = channels // 2
    index = np.arange(half)
    wavelengths = (_TEMPERATURE ** (index // 2 * 2 / half)).astype(np.float32)
    sizes = full_extent(x)[: 1 if x.extent is None else None].astype(jnp.float32)
    parts = []
    for axis in (0, 1):
        position = jnp.arange(1, x.size[axis] + 1, dtype=jnp.float32)
        position = position / (sizes[:, axis, None] + _EPSILON) * (2 * np.pi)
        angle = position[..., None] / wavelengths
        parts.append(jnp.where(index % 2 == 0, jnp.sin(angle), jnp.cos(angle)))
    rows, columns = parts
    shape = (rows.shape[0], *x.size, half)
    rows, columns = rows[:, :, None], columns[:, None]
    return jnp.concatenate([jnp.broadcast_to(part, shape) for part in (rows, columns)], -1)
