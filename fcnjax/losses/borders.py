"""U-Net's weight map of the gaps between objects that nearly touch."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


def border_map(labels: jax.Array, weight: float, sigma: float) -> jax.Array:
    """Compute `weight * exp(-(d1 + d2)^2 / (2 sigma^2))` of background pixels; others get 0.

    Ronneberger et al., U-Net (2015), with weight 10 and sigma 5: d1 and d2 are the distances in
    pixels to the nearest and second nearest object. An object is a connected region (by edges, not
    corners) of one class other than 0. Where d1 + d2 exceeds 6 sigma, and the weight is below 2e-8
    of the largest, it is set to 0, which limits the search for objects.

    Args:
        labels: Int32 [B, H, W], 0 where there is no object.
        weight: The largest weight.
        sigma: In pixels, above 0.

    Returns:
        Float32 [B, H, W].
    """
    reach = math.ceil(6 * sigma)
    nearest = _Nearest.from_regions(connected_regions(labels))
    for axis in (1, 2):
        nearest = _search_along(nearest, axis, min(reach, labels.shape[axis] - 1))
    distances = jnp.sqrt(nearest.first) + jnp.sqrt(nearest.second)
    weights = weight * jnp.exp(-(distances**2) / (2 * sigma**2))
    return jnp.where((labels == 0) & (distances <= reach), weights, 0)


def connected_regions(labels: jax.Array) -> jax.Array:
    """Number the connected regions of classes other than 0.

    Args:
        labels: Int32 [B, H, W].

    Returns:
        Int32 [B, H, W]: a different number for each region of an image, and 0 elsewhere.
    """
    _, height, width = labels.shape
    inside = labels > 0
    numbers = jnp.arange(1, height * width + 1, dtype=jnp.int32).reshape(height, width)
    start = jnp.where(inside, numbers, 0)

    def grow(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        regions, _ = state
        grown = regions
        for axis in (1, 2):
            grown = _max_of_runs(grown, labels, axis)
        return grown, jnp.any(grown != regions)

    return jax.lax.while_loop(lambda state: state[1], grow, (start, jnp.bool_(True)))[0]


def _max_of_runs(regions: jax.Array, labels: jax.Array, axis: int) -> jax.Array:
    """Return the largest number in each run of equal labels along an axis."""

    def combine(left: tuple, right: tuple) -> tuple:
        # A part that starts a run takes nothing over from what is before it.
        (left_max, left_starts), (right_max, right_starts) = left, right
        combined = jnp.where(right_starts, right_max, jnp.maximum(left_max, right_max))
        return combined, left_starts | right_starts

    ends = [(0, 0)] * 3
    ends[axis] = (1, 0)
    # The maximum of a run is that of the scans from either end; one scan does both.
    numbers = jnp.concatenate([regions, jnp.flip(regions, axis)])
    classes = jnp.concatenate([labels, jnp.flip(labels, axis)])
    starts = jnp.pad(jnp.diff(classes, axis=axis) != 0, ends, constant_values=True)
    maxima, _ = jax.lax.associative_scan(combine, (numbers, starts), axis=axis)
    forward, backward = jnp.split(maxima, 2)
    return jnp.maximum(forward, jnp.flip(backward, axis))


class _Nearest(NamedTuple):
    """The two nearest regions of each pixel; a missing one has the distance inf.

    Attributes:
        first: Squared distance to the nearest region, float32 [B, H, W].
        first_id: Its number, int32 [B, H, W]; 0 if there is none.
        second: Squared distance to the nearest region of another number.
        second_id: Its number.
    """

    first: jax.Array
    first_id: jax.Array
    second: jax.Array
    second_id: jax.Array

    @classmethod
    def from_regions(cls, regions: jax.Array) -> "_Nearest":
        """Start with the region of each pixel, at distance 0."""
        inf = jnp.full(regions.shape, jnp.inf, jnp.float32)
        return cls(jnp.where(regions > 0, 0, inf), regions, inf, jnp.zeros_like(regions))

    def update(self, distance: jax.Array, region: jax.Array) -> "_Nearest":
        """Include another region, or the same one, at this squared distance."""
        is_first = region == self.first_id
        is_nearer = distance < self.first
        is_new_first = is_nearer & ~is_first
        second = jnp.where(is_new_first, self.first, jnp.minimum(self.second, distance))
        second_id = jnp.where(distance < self.second, region, self.second_id)
        return _Nearest(
            jnp.minimum(self.first, distance),
            jnp.where(is_nearer, region, self.first_id),
            jnp.where(is_first, self.second, second),
            jnp.where(is_first, self.second_id, jnp.where(is_new_first, self.first_id, second_id)),
        )


def _search_along(nearest: _Nearest, axis: int, reach: int) -> _Nearest:
    """Include the nearest regions of the pixels on the same line, up to `reach` away."""
    width = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
    fill = _Nearest(jnp.inf, 0, jnp.inf, 0)
    padded = [
        jnp.pad(part, width, constant_values=value)
        for part, value in zip(nearest, fill, strict=True)
    ]
    length = nearest.first.shape[axis]

    def step(offset: jax.Array, state: _Nearest) -> _Nearest:
        parts = [jax.lax.dynamic_slice_in_dim(part, offset, length, axis) for part in padded]
        first, first_id, second, second_id = parts
        away = ((offset - reach) ** 2).astype(jnp.float32)
        return state.update(first + away, first_id).update(second + away, second_id)

    return jax.lax.fori_loop(0, 2 * reach + 1, step, nearest)
