"""Exact Euclidean distances on the device, as SciPy's `distance_transform_edt` has them."""

import jax
import jax.numpy as jnp

_UNROLLED = 8  # places of a line that one turn of the loop looks at


def distance_to(mask: jax.Array) -> jax.Array:
    """The distance of each pixel to the nearest one of a mask, in pixels.

    First along the height, then the least of all sums of squares along the width (Felzenszwalb,
    Huttenlocher, Distance Transforms of Sampled Functions, 2012): B H W W operations, in memory of
    a few times the mask's size.

    Args:
        mask: Bool [B, H, W].

    Returns:
        Float32 [B, H, W]; inf in an image whose mask is empty.
    """
    places = jnp.arange(mask.shape[1], dtype=jnp.float32)[:, None]
    before = jax.lax.cummax(jnp.where(mask, places, -jnp.inf), axis=1)
    after = jax.lax.cummin(jnp.where(mask, places, jnp.inf), axis=1, reverse=True)
    return jnp.sqrt(_nearest(jnp.minimum(places - before, after - places) ** 2))


def _nearest(squares: jax.Array) -> jax.Array:
    """`out[..., x]` is the least `squares[..., z] + (x - z)^2`."""
    length = squares.shape[-1]
    places = jnp.arange(length, dtype=jnp.float32)
    turns = -(-length // _UNROLLED)
    padded = jnp.pad(
        squares, ((0, 0), (0, 0), (0, turns * _UNROLLED - length)), constant_values=jnp.inf
    )

    def look(turn: jax.Array, least: jax.Array) -> jax.Array:
        start = turn * _UNROLLED
        some = jax.lax.dynamic_slice_in_dim(padded, start, _UNROLLED, -1)
        for i in range(_UNROLLED):
            least = jnp.minimum(least, some[..., i, None] + (places - (start + i)) ** 2)
        return least

    return jax.lax.fori_loop(0, turns, look, squares)
