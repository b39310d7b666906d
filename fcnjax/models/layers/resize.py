"""Bilinear resize."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.platform import current_platform


def resize_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Resizes to the size and extent of `like`, bilinearly, as torch with align_corners=False.

    Each example is stretched from its own extent to the one that `like` gives it, and edges are
    clamped there. Shrinking does not smooth (antialias=False).
    """
    data = x.data
    for axis in (1, 2):
        target = like.size[axis - 1]
        if x.extent is not None:
            true, wanted = x.extent[:, axis - 1], like.extent[:, axis - 1]
            data = jax.vmap(functools.partial(_gather_axis, out=target, axis=axis - 1))(
                data, true, wanted
            )
        elif target % data.shape[axis] == 0:
            data = _lerp_axis(data, target // data.shape[axis], axis)
        else:
            data = _matrix_axis(data, target, axis)
    return FeatureMap(data, like.extent)


def _lerp_axis(data: jax.Array, factor: int, axis: int) -> jax.Array:
    """Enlarges by a whole factor: elementwise, of each pixel and its two neighbours."""
    if factor == 1:
        return data
    size = data.shape[axis]
    offset = (np.arange(factor) + 0.5) / factor - 0.5  # of the new pixels from the old one's centre
    shape = [1] * (data.ndim + 1)
    shape[axis + 1] = factor
    before, here, after = (
        jnp.asarray(weight.reshape(shape), data.dtype)
        for weight in (np.maximum(-offset, 0), 1 - np.abs(offset), np.maximum(offset, 0))
    )
    previous, following = _neighbours(data, axis)
    data, previous, following = (
        jnp.expand_dims(part, axis + 1) for part in (data, previous, following)
    )
    mixed = previous * before + data * here + following * after
    return mixed.reshape(*mixed.shape[:axis], size * factor, *mixed.shape[axis + 2 :])


def _neighbours(data: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """What lies before and after each place of an axis; beyond the edge, the edge itself."""
    last = data.shape[axis] - 1
    if current_platform().spatial == 1:
        cuts = ((0, 1), (0, last), (1, last + 1), (last, last + 1))
        first, but_last, but_first, last = (lax.slice_in_dim(data, *cut, axis=axis) for cut in cuts)
        return tuple(
            jnp.concatenate(parts, axis) for parts in ((first, but_last), (but_first, last))
        )
    # Rows on several devices would all be exchanged to be joined; so they pass their edges alone.
    place = lax.broadcasted_iota(jnp.int32, data.shape, axis)
    moved = []
    for by, edge in ((1, 0), (-1, last)):
        pads = [(by, -by, 0) if i == axis else (0, 0, 0) for i in range(data.ndim)]
        shifted = lax.pad(data, jnp.zeros((), data.dtype), pads)
        moved.append(jnp.where(place == edge, data, shifted))
    return tuple(moved)


def _matrix_axis(data: jax.Array, out: int, axis: int) -> jax.Array:
    """Resizes by a matrix product, whose gradient repeats bitwise (a gather's need not)."""
    size = data.shape[axis]
    low, high, fraction = _coordinates(np.arange(out), size, out, np)
    matrix = np.zeros((out, size), np.float32)
    np.add.at(matrix, (np.arange(out), low), 1 - fraction)
    np.add.at(matrix, (np.arange(out), high), fraction)
    equation = "oi,biwc->bowc" if axis == 1 else "oi,bhic->bhoc"
    return jnp.einsum(
        equation, jnp.asarray(matrix, data.dtype), data, precision=lax.Precision.HIGHEST
    )


def _gather_axis(
    data: jax.Array, size: jax.Array, wanted: jax.Array, out: int, axis: int
) -> jax.Array:
    """Resizes the first `size` rows (or columns) of one example `[H, W, C]` to `wanted` ones."""
    low, high, fraction = _coordinates(jnp.arange(out), size, wanted, jnp)
    shape = [1] * data.ndim
    shape[axis] = out
    fraction = fraction.reshape(shape)
    low, high = (jnp.take(data, index, axis=axis, mode="clip") for index in (low, high))
    return (low * (1 - fraction) + high * fraction).astype(data.dtype)


def _coordinates(index, size, out, xp):
    """For each new index: the two old ones that it lies between, and how far along (float32).

    Whole-number arithmetic, so that the static and the per-example path agree to the last bit.
    """
    position = xp.clip((2 * index + 1) * size - out, 0, 2 * out * (size - 1))
    low = position // (2 * out)
    fraction = (position % (2 * out)).astype(np.float32) / xp.asarray(2 * out, np.float32)
    return low, xp.minimum(low + 1, size - 1), fraction
