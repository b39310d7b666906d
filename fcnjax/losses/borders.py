"""U-Net's weights of the gaps between objects that nearly touch."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


def border_map(labels: jax.Array, weight: float, sigma: float) -> jax.Array:
    """`weight * exp(-(d1 + d2)^2 / (2 sigma^2))` of background pixels, and 0 of others.

    Ronneberger et al., U-Net (2015), whose weight is 10 and sigma 5: d1 and d2 are the distances in
    pixels to the nearest and the second nearest object. An object is a connected region (by edges,
    not corners) of one class other than 0. Where d1 + d2 is above 6 sigma, and the weight below
    2e-8 of the greatest, it is 0: no pixel looks further than that.

    Args:
        labels: Int32 [B, H, W], 0 where there is no object.
        weight: The greatest weight.
        sigma: In pixels, above 0.

    Returns:
        Float32 [B, H, W].
    """
    reach = math.ceil(6 * sigma)
    nearest = _Nearest.at(connected_regions(labels))
    for axis in (1, 2):
        nearest = _look_along(nearest, axis, min(reach, labels.shape[axis] - 1))
    both = jnp.sqrt(nearest.first) + jnp.sqrt(nearest.second)
    gap = weight * jnp.exp(-(both**2) / (2 * sigma**2))
    return jnp.where((labels == 0) & (both <= reach), gap, 0)


def connected_regions(labels: jax.Array) -> jax.Array:
    """A number for each connected region of a class other than 0, and 0 elsewhere.

    Args:
        labels: Int32 [B, H, W].

    Returns:
        Int32 [B, H, W], different for different regions of an image.
    """
    _, height, width = labels.shape
    inside = labels > 0
    places = jnp.arange(1, height * width + 1, dtype=jnp.int32).reshape(height, width)
    start = jnp.where(inside, places, 0)

    def grown(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        regions, _ = state
        new = regions
        for axis in (1, 2):
            new = _greatest_of_run(new, labels, axis)
        return new, jnp.any(new != regions)

    return jax.lax.while_loop(lambda state: state[1], grown, (start, jnp.bool_(True)))[0]


def _greatest_of_run(regions: jax.Array, labels: jax.Array, axis: int) -> jax.Array:
    """The greatest number of each run of equal labels along an axis."""

    def carry(left: tuple, right: tuple) -> tuple:
        # A part that starts a run takes nothing over from what is before it.
        (greatest, starts), (own, own_starts) = left, right
        return jnp.where(own_starts, own, jnp.maximum(greatest, own)), starts | own_starts

    ends = [(0, 0)] * 3
    ends[axis] = (1, 0)
    # The run's greatest is that of what is up to a pixel from either end; one scan does both.
    both = jnp.concatenate([regions, jnp.flip(regions, axis)])
    classes = jnp.concatenate([labels, jnp.flip(labels, axis)])
    starts = jnp.pad(jnp.diff(classes, axis=axis) != 0, ends, constant_values=True)
    greatest, _ = jax.lax.associative_scan(carry, (both, starts), axis=axis)
    forward, backward = jnp.split(greatest, 2)
    return jnp.maximum(forward, jnp.flip(backward, axis))


class _Nearest(NamedTuple):
    """The nearest regions of each pixel: two, or one and its distance inf, or none.

    Attributes:
        first: The squared distance to the nearest, float32 [B, H, W].
        first_id: Its number, int32 [B, H, W]; 0 of none.
        second: The squared distance to the nearest of another number.
        second_id: Its number.
    """

    first: jax.Array
    first_id: jax.Array
    second: jax.Array
    second_id: jax.Array

    @classmethod
    def at(cls, regions: jax.Array) -> "_Nearest":
        """Pixels of a region are 0 from it."""
        none = jnp.full(regions.shape, jnp.inf, jnp.float32)
        return cls(jnp.where(regions > 0, 0, none), regions, none, jnp.zeros_like(regions))

    def joined(self, distance: jax.Array, region: jax.Array) -> "_Nearest":
        """With another region that is at this (squared) distance, or the same at another one."""
        known = region == self.first_id
        nearer = distance < self.first
        ahead = nearer & ~known
        second = jnp.where(ahead, self.first, jnp.minimum(self.second, distance))
        second_id = jnp.where(distance < self.second, region, self.second_id)
        return _Nearest(
            jnp.minimum(self.first, distance),
            jnp.where(nearer, region, self.first_id),
            jnp.where(known, self.second, second),
            jnp.where(known, self.second_id, jnp.where(ahead, self.first_id, second_id)),
        )


def _look_along(found: _Nearest, axis: int, reach: int) -> _Nearest:
    """Joins what the pixels of the same line have found, up to `reach` away."""
    width = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
    fill = _Nearest(jnp.inf, 0, jnp.inf, 0)
    around = [
        jnp.pad(own, width, constant_values=value) for own, value in zip(found, fill, strict=True)
    ]
    length = found.first.shape[axis]

    def join(offset: jax.Array, state: _Nearest) -> _Nearest:
        parts = [jax.lax.dynamic_slice_in_dim(own, offset, length, axis) for own in around]
        first, first_id, second, second_id = parts
        away = ((offset - reach) ** 2).astype(jnp.float32)
        return state.joined(first + away, first_id).joined(second + away, second_id)

    return jax.lax.fori_loop(0, 2 * reach + 1, join, found)
