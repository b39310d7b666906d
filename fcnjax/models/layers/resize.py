"""Resizing by torch's three rules: bilinear, bilinear with aligned corners, and nearest."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap, full_extent
from fcnjax.models.layers.platform import current_platform

BLOCK_BYTES = 2**28  # of the rows that are resized at a time where the channels are then reduced
# From new indices, the old size, the new size and NumPy or jax.numpy: the two old indices that each
# new one lies between, and the float32 fraction of the way. Integer arithmetic, so that the static
# and the per-example path agree to the last bit.
Coordinates = Callable


def resize_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Resize to the size and extent of `like`, bilinearly, as torch with align_corners=False.

    Each example is stretched from its own extent to that of `like`, and clamped at the edges.
    Shrinking does not smooth (antialias=False).
    """
    return _resize(x, like, _half_pixel_coordinates)


def resize_corners_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Resize to the size and extent of `like`, bilinearly, as torch with align_corners=True.

    The centres of an example's corner pixels stay in place; shrinking does not smooth.
    """
    return _resize(x, like, _corner_coordinates)


def resize_nearest_like(x: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Resize to the size and extent of `like`, as torch's `nearest`.

    New pixel i takes the old one at `floor(i * old / new)`, within each example's extent.
    """
    return _resize(x, like, _nearest_coordinates)


def resize_and_reduce(
    x: FeatureMap,
    like: FeatureMap,
    reduce: Callable[[jax.Array], jax.Array],
    align_corners: bool,
) -> jax.Array:
    """Resize as `resize_like` or `resize_corners_like`, and reduce the channels of each pixel.

    A large result is computed in blocks of rows, so that the resized map of all channels, which may
    not fit into memory, never exists. Values may differ from those of a whole map by rounding.

    Args:
        x: The map.
        like: A map of the size and extent to resize to.
        reduce: Function of `[..., C]` that returns `[...]`, such as argmax.
        align_corners: Which of the two rules.

    Returns:
        `[B, H, W]`.
    """
    (height, width), batch = like.size, x.data.shape[0]
    resize = resize_corners_like if align_corners else resize_like
    is_static = all(isinstance(side, int) for side in (batch, height, width))
    if not is_static or current_platform().spatial > 1:
        return reduce(resize(x, like).data)
    rows = max(BLOCK_BYTES // (4 * batch * width * x.channels), 1)
    if rows >= height:
        return reduce(resize(x, like).data)
    coordinates = _corner_coordinates if align_corners else _half_pixel_coordinates
    extents = full_extent(x), full_extent(like)
    columns = FeatureMap(jnp.zeros((batch, rows, width, 0)), like.extent)

    def reduce_block(first: jax.Array) -> jax.Array:
        gather = functools.partial(_gather, coordinates, first + jnp.arange(rows), axis=0)
        block = jax.vmap(gather)(x.data, *(extent[:, 0] for extent in extents))
        return reduce(_resize_axis(coordinates, x.replace(data=block), columns, 2))

    blocks = lax.map(reduce_block, rows * jnp.arange(-(-height // rows)))
    return jnp.moveaxis(blocks, 0, 1).reshape(batch, -1, width)[:, :height]


def _half_pixel_coordinates(index, size, out, xp):
    position = xp.clip((2 * index + 1) * size - out, 0, 2 * out * (size - 1))
    low = position // (2 * out)
    fraction = (position % (2 * out)).astype(np.float32) / xp.asarray(2 * out, np.float32)
    return low, xp.minimum(low + 1, size - 1), fraction


def _corner_coordinates(index, size, out, xp):
    span = xp.maximum(out - 1, 1)
    position = xp.clip(index, 0, out - 1) * (size - 1)
    low = position // span
    fraction = (position % span).astype(np.float32) / xp.asarray(span, np.float32)
    return low, xp.minimum(low + 1, size - 1), fraction


def _nearest_coordinates(index, size, out, xp):
    low = xp.clip(index, 0, out - 1) * size // out
    return low, low, xp.zeros(index.shape, np.float32)


def _resize(x: FeatureMap, like: FeatureMap, coordinates: Coordinates) -> FeatureMap:
    is_static = all(isinstance(side, int) for side in (*x.size, *like.size))
    if not is_static and x.extent is None and like.extent is None:
        return FeatureMap(_SYMBOLIC[coordinates](x.data, *like.size))
    for axis in (1, 2):
        x = x.replace(data=_resize_axis(coordinates, x, like, axis))
    return FeatureMap(x.data, like.extent)


# Jitted, so that the name of each marks it in a program: ONNX has an operator for two of them.
@functools.partial(jax.jit, static_argnums=(1, 2))
def resize_half_pixel(data: jax.Array, height: int, width: int) -> jax.Array:
    """Resize `[B, H, W, C]` of symbolic sizes by the rule of `resize_like`."""
    return _gather_both(_half_pixel_coordinates, data, height, width)


@functools.partial(jax.jit, static_argnums=(1, 2))
def resize_corners(data: jax.Array, height: int, width: int) -> jax.Array:
    """Resize `[B, H, W, C]` of symbolic sizes by the rule of `resize_corners_like`."""
    return _gather_both(_corner_coordinates, data, height, width)


@functools.partial(jax.jit, static_argnums=(1, 2))
def resize_nearest(data: jax.Array, height: int, width: int) -> jax.Array:
    """Resize `[B, H, W, C]` of symbolic sizes by the rule of `resize_nearest_like`."""
    return _gather_both(_nearest_coordinates, data, height, width)


_SYMBOLIC = {
    _half_pixel_coordinates: resize_half_pixel,
    _corner_coordinates: resize_corners,
    _nearest_coordinates: resize_nearest,
}


def _gather_both(coordinates: Coordinates, data: jax.Array, height: int, width: int) -> jax.Array:
    for axis, out in ((1, height), (2, width)):
        size = data.shape[axis]
        data = _gather(coordinates, jnp.arange(out), data, size, out, axis=axis)
    return data


def _resize_axis(coordinates: Coordinates, x: FeatureMap, like: FeatureMap, axis: int) -> jax.Array:
    """Return the data `[B, H, W, C]` of `x`, resized along one axis to that of `like`."""
    data, size, out = x.data, x.data.shape[axis], like.data.shape[axis]
    if x.extent is not None or like.extent is not None:
        gather = functools.partial(_gather, coordinates, jnp.arange(out), axis=axis - 1)
        extents = (full_extent(map_)[:, axis - 1] for map_ in (x, like))
        return jax.vmap(gather)(data, *extents)
    if out == size:
        return data
    if coordinates is _half_pixel_coordinates and out % size == 0:
        return _interpolate(data, out // size, axis)
    if coordinates is _nearest_coordinates and out in (2 * size - 1, 2 * size):
        # Doubled, and cropped by the pixel that a stride's rounding took.
        return lax.slice_in_dim(jnp.repeat(data, 2, axis), 0, out, axis=axis)
    return _multiply(coordinates, data, out, axis)


def _interpolate(data: jax.Array, factor: int, axis: int) -> jax.Array:
    """Enlarge by an integer factor: elementwise, from each pixel and its two neighbours."""
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
    """Return the previous and the next pixel along an axis; edge pixels are their own neighbour."""
    last = data.shape[axis] - 1
    if current_platform().spatial == 1:
        cuts = ((0, 1), (0, last), (1, last + 1), (last, last + 1))
        first, but_last, but_first, last = (lax.slice_in_dim(data, *cut, axis=axis) for cut in cuts)
        return tuple(
            jnp.concatenate(parts, axis) for parts in ((first, but_last), (but_first, last))
        )
    # A concatenation of sharded rows would exchange all of them; a shift exchanges only the edges.
    index = lax.broadcasted_iota(jnp.int32, data.shape, axis)
    neighbours = []
    for shift, edge in ((1, 0), (-1, last)):
        pads = [(shift, -shift, 0) if i == axis else (0, 0, 0) for i in range(data.ndim)]
        shifted = lax.pad(data, jnp.zeros((), data.dtype), pads)
        neighbours.append(jnp.where(index == edge, data, shifted))
    return tuple(neighbours)


def _multiply(coordinates: Coordinates, data: jax.Array, out: int, axis: int) -> jax.Array:
    """Resize by a matrix product, whose gradient is bitwise reproducible (unlike a gather's)."""
    size = data.shape[axis]
    low, high, fraction = coordinates(np.arange(out), size, out, np)
    matrix = np.zeros((out, size), np.float32)
    np.add.at(matrix, (np.arange(out), low), 1 - fraction)
    np.add.at(matrix, (np.arange(out), high), fraction)
    equation = "oi,biwc->bowc" if axis == 1 else "oi,bhic->bhoc"
    return jnp.einsum(
        equation, jnp.asarray(matrix, data.dtype), data, precision=lax.Precision.HIGHEST
    )


def _gather(
    coordinates: Coordinates,
    index: jax.Array,
    data: jax.Array,
    size: jax.Array,
    target: jax.Array,
    *,
    axis: int,
) -> jax.Array:
    """Return rows (or columns) of one example `[H, W, C]`, resized from `size` to `target`.

    Args:
        coordinates: The rule.
        index: The new rows to return; beyond the last one, it is repeated.
        data: The example.
        size: The number of its rows that are valid.
        target: The number of new rows.
        axis: 0 for rows, 1 for columns.
    """
    low, high, fraction = coordinates(index, size, target, jnp)
    shape = [1] * data.ndim
    shape[axis] = -1
    fraction = fraction.reshape(shape)
    low, high = (jnp.take(data, index, axis=axis, mode="clip") for index in (low, high))
    return (low * (1 - fraction) + high * fraction).astype(data.dtype)
