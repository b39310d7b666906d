"""Exact Euclidean distance transform on the device, like SciPy's `distance_transform_edt`."""

import jax
import jax.numpy as jnp

_UNROLLED = 8  # pixels of a line that one iteration of the loop compares


def distance_to(mask: jax.Array) -> jax.Array:
    """Return the distance of each pixel to the nearest one of a mask, in pixels.

    Distances are found along the height, and then the minimum of all sums of squares along the
    width (Felzenszwalb, Huttenlocher, Distance Transforms of Sampled Functions, 2012). This takes
    B H W W operations, and a few times the memory of the mask.

    Args:
        mask: Bool [B, H, W].

    Returns:
        Float32 [B, H, W]; inf in an image whose mask is empty.
    """
    positions = jnp.arange(mask.shape[1], dtype=jnp.float32)[:, None]
    before = jax.lax.cummax(jnp.where(mask, positions, -jnp.inf), axis=1)
    after = jax.lax.cummin(jnp.where(mask, positions, jnp.inf), axis=1, reverse=True)
    return jnp.sqrt(_nearest(jnp.minimum(positions - before, after - positions) ** 2))


def _nearest(squares: jax.Array) -> jax.Array:
    """Return the minimum over z of `squares[..., z] + (x - z)^2`, for each x."""
    length = squares.shape[-1]
    positions = jnp.arange(length, dtype=jnp.float32)
    iterations = -(-length // _UNROLLED)
    padded = jnp.pad(
        squares, ((0, 0), (0, 0), (0, iterations * _UNROLLED - length)), constant_values=jnp.inf
    )

    def compare(iteration: jax.Array, minimum: jax.Array) -> jax.Array:
        start = iteration * _UNROLLED
        chunk = jax.lax.dynamic_slice_in_dim(padded, start, _UNROLLED, -1)
        for i in range(_UNROLLED):
            minimum = jnp.minimum(minimum, chunk[..., i, None] + (positions - (start + i)) ** 2)
        return minimum

    return jax.lax.fori_loop(0, iterations, compare, squares)
