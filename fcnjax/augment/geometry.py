"""Geometric augmentation: coordinate maps, and sampling of image and label at the coordinates.

Each transform maps offsets from the centre of the crop, `dy, dx` in pixels, to offsets in the
image. The transforms are composed, and the image is sampled once at the result.
`fcnjax.data.loading.canvas.canvas_size` computes the size of the region that they can reach.
"""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment.colour import to_unit
from fcnjax.augment.keys import named_key
from fcnjax.data.loading.canvas import needs_interpolation

# The standard deviation of a cubic B-spline is the distance of its knots divided by sqrt(3).
_KNOTS = 3**0.5
# A 2-D map of cubic B-splines is injective as long as no knot moves along an axis by more than the
# distance of the knots divided by 2.0464 (Choi and Lee, 2000). As a multiple of `elastic_sigma`.
MAX_ELASTIC_RATIO = _KNOTS / 2.0464

Offsets = tuple[jax.Array, jax.Array]


def sample_flips(key: jax.Array, augment: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """Return whether `crop_coordinates` flips horizontally and vertically for the same key."""
    *_, hflip_key, vflip_key = jax.random.split(key, 5)
    hflip = jax.random.bernoulli(hflip_key, augment.hflip)
    return hflip, jax.random.bernoulli(vflip_key, augment.vflip)


def crop_coordinates(
    key: jax.Array, canvas: tuple[int, int], augment: ConfigDict
) -> tuple[jax.Array, jax.Array]:
    """Compute the canvas coordinates at which each pixel of the crop is sampled.

    Args:
        key: The example's random key.
        canvas: Height and width; the crop lies at its centre.
        augment: `config.augment`.

    Returns:
        Rows and columns `[h, w]` float32.
    """
    _, zoom_key, turn_key, *_ = jax.random.split(key, 5)
    hflip, vflip = sample_flips(key, augment)
    sides = zip(canvas, augment.crop, strict=True)
    centre = [(side - length) // 2 + (length - 1) / 2 for side, length in sides]
    dy = jnp.arange(augment.crop[0], dtype=jnp.float32)[:, None] - (augment.crop[0] - 1) / 2
    dx = jnp.arange(augment.crop[1], dtype=jnp.float32)[None, :] - (augment.crop[1] - 1) / 2
    dy = jnp.where(vflip, -dy, dy)
    dx = jnp.where(hflip, -dx, dx)
    for name, apply in _MAPS.items():
        if augment[name]:
            dy, dx = apply(named_key(key, name), dy, dx, augment)
    # The logarithm of the zoom is uniform, so that x2 and x0.5 are equally likely.
    low, high = np.log(augment.scale[0]), np.log(augment.scale[1])
    zoom = jnp.exp(jax.random.uniform(zoom_key, (), minval=low, maxval=high))
    angle = jnp.deg2rad(augment.rotation) * jax.random.uniform(turn_key, (), minval=-1, maxval=1)
    cos, sin = jnp.cos(angle) / zoom, jnp.sin(angle) / zoom
    return centre[0] + cos * dy + sin * dx, centre[1] - sin * dy + cos * dx


def _quarter_turns(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Rotate by 90, 180 or 270 degrees with equal probability; by 180 if the crop is not square.

    A wide crop rotated by 90 degrees would need a tall part of the image, which the host does not
    load.
    """
    apply_key, angle_key = jax.random.split(key)
    happens = jax.random.bernoulli(apply_key, augment.quarter_turns)
    if augment.crop[0] != augment.crop[1]:
        sign = jnp.where(happens, -1.0, 1.0)
        return sign * dy, sign * dx
    quarters = jnp.where(happens, jax.random.randint(angle_key, (), 1, 4), 0)
    # Integer matrices, so that positions on the pixel grid stay on it exactly.
    cos, sin = jnp.asarray([1.0, 0, -1, 0])[quarters], jnp.asarray([0.0, 1, 0, -1])[quarters]
    return cos * dy + sin * dx, cos * dx - sin * dy


def _perspective(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Divide by 1 + a y + b x, which is 1 - perspective to 1 + perspective at the corners.

    The centre stays in place, and straight lines stay straight.
    """
    height, width = augment.crop
    tilt = augment.perspective / 2 * jax.random.uniform(key, (2,), minval=-1, maxval=1)
    depth = 1 + tilt[0] * dy / (height / 2) + tilt[1] * dx / (width / 2)
    return dy / depth, dx / depth


def _elastic(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Add smooth random displacements of at most `elastic` pixels along each axis.

    They resemble noise blurred with a Gaussian of standard deviation `elastic_sigma` (Simard et
    al., 2003). They are computed as cubic B-splines over a coarse grid of random knots, by two
    small matrix products. A displacement is a convex combination of knots, so that none exceeds
    the largest knot.
    """
    rows, columns = (_spline(side, augment.elastic_sigma * _KNOTS) for side in augment.crop)
    knots = (2, rows.shape[1], columns.shape[1])
    knots = augment.elastic * jax.random.uniform(key, knots, minval=-1, maxval=1)
    # Coordinates need full precision; matrix units would round the products by default.
    shift = jnp.einsum("hy,kyx,wx->khw", rows, knots, columns, precision=jax.lax.Precision.HIGHEST)
    return dy + shift[0], dx + shift[1]


def _spline(length: int, distance: float) -> np.ndarray:
    """Return the weights `[length, knots]` float32 of cubic B-splines with equidistant knots."""
    position = (np.arange(length) + 0.5) / distance
    first = np.floor(position).astype(int)
    t = position - first
    basis = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = np.zeros((length, first[-1] + 4), np.float32)
    for i, values in enumerate(basis):
        weights[np.arange(length), first + i] = values / 6
    return weights


def _shear(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Shear rows or columns, with equal probability, by up to `shear` degrees to either side."""
    axis_key, angle_key = jax.random.split(key)
    angle = jnp.deg2rad(augment.shear) * jax.random.uniform(angle_key, (), minval=-1, maxval=1)
    slope, along_y = jnp.tan(angle), jax.random.bernoulli(axis_key)
    y_slope, x_slope = jnp.where(along_y, slope, 0), jnp.where(along_y, 0, slope)
    return dy + y_slope * dx, dx + x_slope * dy


def _aspect(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Change the aspect ratio by a factor of up to 2 ** aspect; the area stays the same."""
    stretch = 2 ** (augment.aspect / 2 * jax.random.uniform(key, (), minval=-1, maxval=1))
    return dy * stretch, dx / stretch


# Transforms by their key of `config.augment`, in the order in which they are applied. Zoom and
# rotation follow.
_MAPS = {
    "quarter_turns": _quarter_turns,
    "perspective": _perspective,
    "elastic": _elastic,
    "shear": _shear,
    "aspect": _aspect,
}


def sample(
    images: jax.Array,
    labels: jax.Array,
    row: jax.Array | int,
    corner: jax.Array,
    bounds: jax.Array,
    coordinates: tuple[jax.Array, jax.Array],
    config: ConfigDict,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sample an image bilinearly and its label by nearest neighbour.

    Args:
        images: `[N, H, W, C]`, as stored.
        labels: `[N, H, W]` class ids.
        row: The index of the image.
        corner: `[2]` int, the upper left corner of the canvas in the image.
        bounds: `[4]` int, the position of the image in the canvas, as returned by `crop_canvas`.
        coordinates: `[h, w]` float32 rows and columns in the canvas.
        config: The full config.

    Returns:
        Pixels `[h, w, C]` in 0..1, int32 labels `[h, w]`, ignored outside the image, and a bool
        mask `[h, w]` of the positions inside the image.
    """
    ys, xs = coordinates
    top, left, bottom, right = bounds
    inside = (ys >= top - 0.5) & (ys <= bottom - 0.5) & (xs >= left - 0.5) & (xs <= right - 0.5)

    def read(array: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
        y = jnp.clip(y, top, bottom - 1) + corner[0]
        x = jnp.clip(x, left, right - 1) + corner[1]
        return array[row, y, x]

    nearest_y, nearest_x = jnp.round(ys).astype(jnp.int32), jnp.round(xs).astype(jnp.int32)
    label = read(labels, nearest_y, nearest_x).astype(jnp.int32)
    label = jnp.where(inside, label, config.data.ignore_label)
    if not needs_interpolation(config.augment):
        # Crops, flips and quarter turns stay on the pixel grid: one read is enough.
        return to_unit(read(images, nearest_y, nearest_x)), label, inside

    y0, x0 = jnp.floor(ys).astype(jnp.int32), jnp.floor(xs).astype(jnp.int32)
    fy, fx = (ys - y0)[..., None], (xs - x0)[..., None]
    upper, lower = (
        to_unit(read(images, y, x0)) * (1 - fx) + to_unit(read(images, y, x0 + 1)) * fx
        for y in (y0, y0 + 1)
    )
    return upper * (1 - fy) + lower * fy, label, inside
