"""Resizing of images with antialiasing, as Pillow and torchvision resize photographs."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap


class Filter(NamedTuple):
    """A resampling filter.

    Attributes:
        weight: From distances in old pixels (in new ones where the image shrinks) to weights.
        support: The distance from which on weights are 0.
    """

    weight: Callable[[jax.Array], jax.Array]
    support: float


def _cubic(x: jax.Array) -> jax.Array:
    # Keys 1981, with a = -0.5.
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return jnp.where(x < 1, inner, outer)


def _hamming(x: jax.Array) -> jax.Array:
    return jnp.sinc(x) * (0.54 + 0.46 * jnp.cos(np.pi * x))


FILTERS: Mapping[str, Filter] = {
    "box": Filter(jnp.ones_like, 0.5),
    "bilinear": Filter(lambda x: 1 - x, 1),
    "hamming": Filter(_hamming, 1),
    "bicubic": Filter(_cubic, 2),
    "lanczos": Filter(lambda x: jnp.sinc(x) * jnp.sinc(x / 3), 3),
}
NEAREST = "nearest"
FILTER_NAMES = (NEAREST, *FILTERS)
# The filters whose weights torchvision rounds to 16 bits for images of 8 bits.
_ROUNDED_FILTERS = ("bilinear", "bicubic")
_MOST_BITS = 22  # of the fraction of these weights


def resize_image(x: FeatureMap, like: FeatureMap, filter_name: str) -> FeatureMap:
    """Resize images to the size and extent of `like`, with a filter that widens as they shrink.

    Each example is stretched from its own extent to that of `like`. Images of integers are rounded
    after each axis, columns first, as Pillow does. Bilinear and bicubic weights of images of 8 bits
    are rounded to 16 bits, as torchvision does.

    Args:
        x: `[B, H, W, C]` of any type.
        like: Of the new size; its data are not used.
        filter_name: A name in `FILTER_NAMES`.
    """
    data = x.data
    for axis in (2, 1):
        sizes, targets = (_sizes(each, axis) for each in (x, like))
        weights = functools.partial(_weights, filter_name, data.shape[axis], like.size[axis - 1])
        matrices = jax.vmap(weights)(sizes, targets)
        if x.data.dtype == jnp.uint8 and filter_name in _ROUNDED_FILTERS:
            matrices = jax.vmap(_round_weights)(matrices, targets)
        # What lies outside the extent may be nan, and a weight of 0 times nan would be nan.
        data = _zero_beyond(data, sizes, axis)
        equation = "boi,bhic->bhoc" if axis == 2 else "boi,biwc->bowc"
        resized = jnp.einsum(
            equation, matrices, data.astype(jnp.float32), precision=lax.Precision.HIGHEST
        )
        data = _round_like(resized, x.data.dtype)
    return FeatureMap(data, like.extent)


def _sizes(x: FeatureMap, axis: int) -> jax.Array:
    """Return the true size `[B]` of each example along an axis."""
    if x.extent is not None:
        return x.extent[:, axis - 1]
    sizes = jnp.broadcast_to(jnp.asarray(x.size[axis - 1], jnp.int32), x.data.shape[:1])
    # Else XLA would compute the weights, which are many numbers, while it compiles.
    return lax.optimization_barrier(sizes)


def _weights(
    filter_name: str, length: int, new_length: int, size: jax.Array, target: jax.Array
) -> jax.Array:
    """Return the weights `[new_length, length]` of one axis, from `size` pixels to `target`."""
    old, new = jnp.arange(length)[None], jnp.arange(new_length)[:, None]
    if filter_name == NEAREST:
        nearest = (2 * new + 1) * size // (2 * target)
        return (old == nearest).astype(jnp.float32)
    weight, support = FILTERS[filter_name]
    # Between the centres of an old and a new pixel; exact but for the division.
    steps = (2 * old + 1) * target - (2 * new + 1) * size
    width = 2 * jnp.maximum(size, target)
    distance = steps.astype(jnp.float32) / width.astype(jnp.float32)
    # As in Pillow, a box has its upper edge alone; other filters are 0 at both.
    inside = (distance > -support) & (distance <= support) & (old < size)
    weights = jnp.where(inside, weight(jnp.abs(distance)), 0)
    total = weights.sum(1, keepdims=True)
    return weights / jnp.where(total == 0, 1, total)


def _round_weights(weights: jax.Array, target: jax.Array) -> jax.Array:
    """Round the weights `[new_length, length]` of the first `target` pixels to 16 bits.

    All have the same number of bits after the point: the most with which the largest fits.
    """
    is_valid = jnp.arange(weights.shape[0])[:, None] < target
    largest = jnp.max(jnp.where(is_valid, weights, 0))
    scales = 2.0 ** jnp.arange(1, _MOST_BITS + 1)
    bits = (jnp.floor(largest * scales + 0.5) < 2**15).sum()
    scale = 2.0 ** bits.astype(jnp.float32)
    return jnp.sign(weights) * jnp.floor(jnp.abs(weights) * scale + 0.5) / scale


def _zero_beyond(data: jax.Array, sizes: jax.Array, axis: int) -> jax.Array:
    """Return the data with zeros from the size of each example on, along an axis."""
    position = lax.broadcasted_iota(jnp.int32, data.shape, axis)
    return jnp.where(position < sizes[:, None, None, None], data, 0)


def _round_like(data: jax.Array, dtype: jnp.dtype) -> jax.Array:
    if not jnp.issubdtype(dtype, jnp.integer):
        return data.astype(dtype)
    limits = jnp.iinfo(dtype)
    return jnp.clip(jnp.floor(data + 0.5), limits.min, limits.max).astype(dtype)
