"""Where each pixel of a crop comes from, and its reading: once for the image, once for the label.

Every transform is a map of offsets from the crop's centre, `dy, dx` in pixels, from the crop to
the picture. They are applied one after another, and the picture is sampled at what comes out.
`fcnjax.data.loading.canvas.canvas_size` says how far that may reach.
"""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment.colour import to_unit
from fcnjax.augment.keys import named_key

# The deviation of a cubic B-spline is its knots' distance over sqrt(3).
_KNOTS = 3**0.5
# A map of cubic B-splines in two dimensions is one to one while no knot moves, along an axis, by
# more than its distance to the next over 2.0464 (Choi and Lee, 2000). As a part of `elastic_sigma`.
FOLDS_AT = _KNOTS / 2.0464

Offsets = tuple[jax.Array, jax.Array]


def moves_off_grid(augment: ConfigDict) -> bool:
    """Whether pixels may come to lie between those of the picture; flips and crops keep to them."""
    return (
        tuple(augment.scale) != (1.0, 1.0)
        or augment.rotation != 0
        or any(augment[key] for key in ("aspect", "shear", "perspective", "elastic"))
    )


def flips(key: jax.Array, augment: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """Whether `coordinates` exchanges left and right, and top and bottom, by the same key."""
    *_, hflip_key, vflip_key = jax.random.split(key, 5)
    across = jax.random.bernoulli(hflip_key, augment.hflip)
    return across, jax.random.bernoulli(vflip_key, augment.vflip)


def coordinates(
    key: jax.Array, canvas: tuple[int, int], augment: ConfigDict
) -> tuple[jax.Array, jax.Array]:
    """Computes the place in the canvas that each pixel of the crop comes from.

    Args:
        key: The example's random key.
        canvas: Height and width; the crop is about its centre.
        augment: `config.augment`.

    Returns:
        Rows and columns `[h, w]` float32.
    """
    _, zoom_key, turn_key, *_ = jax.random.split(key, 5)
    across, down = flips(key, augment)
    centre = [
        (side - length) // 2 + (length - 1) / 2
        for side, length in zip(canvas, augment.crop, strict=True)
    ]

    dy = jnp.arange(augment.crop[0], dtype=jnp.float32)[:, None] - (augment.crop[0] - 1) / 2
    dx = jnp.arange(augment.crop[1], dtype=jnp.float32)[None, :] - (augment.crop[1] - 1) / 2
    dy = jnp.where(down, -dy, dy)
    dx = jnp.where(across, -dx, dx)
    for name, apply in _MAPS.items():
        if augment[name]:
            dy, dx = apply(named_key(key, name), dy, dx, augment)
    # Zooms are drawn evenly in their logarithm: x2 and x0.5 are as likely.
    low, high = np.log(augment.scale[0]), np.log(augment.scale[1])
    zoom = jnp.exp(jax.random.uniform(zoom_key, (), minval=low, maxval=high))
    turn = jnp.deg2rad(augment.rotation) * jax.random.uniform(turn_key, (), minval=-1, maxval=1)
    cos, sin = jnp.cos(turn) / zoom, jnp.sin(turn) / zoom
    return centre[0] + cos * dy + sin * dx, centre[1] - sin * dy + cos * dx


def _quarter_turns(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Turns by 90, 180 or 270 degrees, each as likely; crops that are not square by 180 alone.

    A wide crop turned by 90 degrees would be of a tall part of the picture, which the host does
    not deliver.
    """
    whether, which = jax.random.split(key)
    happens = jax.random.bernoulli(whether, augment.quarter_turns)
    if augment.crop[0] != augment.crop[1]:
        sign = jnp.where(happens, -1.0, 1.0)
        return sign * dy, sign * dx
    quarters = jnp.where(happens, jax.random.randint(which, (), 1, 4), 0)
    # Whole numbers: what was on the grid stays there exactly.
    cos, sin = jnp.asarray([1.0, 0, -1, 0])[quarters], jnp.asarray([0.0, 1, 0, -1])[quarters]
    return cos * dy + sin * dx, cos * dx - sin * dy


def _perspective(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Divides by 1 + a y + b x; in the crop's corners that is 1 - perspective to 1 + perspective.

    The centre stays, and lines stay straight.
    """
    height, width = augment.crop
    tilt = augment.perspective / 2 * jax.random.uniform(key, (2,), minval=-1, maxval=1)
    depth = 1 + tilt[0] * dy / (height / 2) + tilt[1] * dx / (width / 2)
    return dy / depth, dx / depth


def _elastic(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Adds smooth displacements of at most `elastic` pixels each way.

    Like noise blurred by a Gaussian of deviation `elastic_sigma` (Simard et al., 2003), by cubic
    B-splines over a coarse grid of random knots: two small products of matrices. They are convex
    sums of the knots, so that none is greater than the greatest of these.
    """
    rows, columns = (_spline(side, augment.elastic_sigma * _KNOTS) for side in augment.crop)
    knots = (2, rows.shape[1], columns.shape[1])
    knots = augment.elastic * jax.random.uniform(key, knots, minval=-1, maxval=1)
    # Coordinates need all their digits, which matrix units else round.
    moved = jnp.einsum("hy,kyx,wx->khw", rows, knots, columns, precision=jax.lax.Precision.HIGHEST)
    return dy + moved[0], dx + moved[1]


def _spline(length: int, distance: float) -> np.ndarray:
    """Weights `[length, knots]` float32 of cubic B-splines, their knots a distance apart."""
    place = (np.arange(length) + 0.5) / distance
    first = np.floor(place).astype(int)
    part = place - first
    four = [
        (1 - part) ** 3,
        3 * part**3 - 6 * part**2 + 4,
        -3 * part**3 + 3 * part**2 + 3 * part + 1,
        part**3,
    ]
    weights = np.zeros((length, first[-1] + 4), np.float32)
    for i, values in enumerate(four):
        weights[np.arange(length), first + i] = values / 6
    return weights


def _shear(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Slants rows or columns, either as likely, by up to `shear` degrees to either side."""
    which, by = jax.random.split(key)
    angle = jnp.deg2rad(augment.shear) * jax.random.uniform(by, (), minval=-1, maxval=1)
    slant, of_columns = jnp.tan(angle), jax.random.bernoulli(which)
    down, aside = jnp.where(of_columns, slant, 0), jnp.where(of_columns, 0, slant)
    return dy + down * dx, dx + aside * dy


def _aspect(key: jax.Array, dy: jax.Array, dx: jax.Array, augment: ConfigDict) -> Offsets:
    """Changes the ratio of height to width by up to 2 ** aspect, and keeps the area."""
    stretch = 2 ** (augment.aspect / 2 * jax.random.uniform(key, (), minval=-1, maxval=1))
    return dy * stretch, dx / stretch


# In the order they are applied, from the crop to the picture; zoom and rotation are last. The key
# is that of `config.augment`.
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
    ys: jax.Array,
    xs: jax.Array,
    config: ConfigDict,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Reads the image by linear and the label by nearest sampling.

    Args:
        images: `[N, H, W, C]`, as stored.
        labels: `[N, H, W]` class ids.
        row: Which of them.
        corner: `[2]` int, where the canvas begins in it.
        bounds: `[4]` int, where the picture lies in the canvas, as of `crop_canvas`.
        ys: `[h, w]` float32 rows in the canvas.
        xs: `[h, w]` float32 columns in the canvas.
        config: The whole config.

    Returns:
        `[h, w, C]` pixels in 0..1, `[h, w]` int32 labels, ignored outside the picture, and bool
        `[h, w]` of what lies inside.
    """
    top, left, bottom, right = bounds
    inside = (ys >= top - 0.5) & (ys <= bottom - 0.5) & (xs >= left - 0.5) & (xs <= right - 0.5)

    def read(array: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
        y = jnp.clip(y, top, bottom - 1) + corner[0]
        x = jnp.clip(x, left, right - 1) + corner[1]
        return array[row, y, x]

    nearest_y, nearest_x = jnp.round(ys).astype(jnp.int32), jnp.round(xs).astype(jnp.int32)
    label = read(labels, nearest_y, nearest_x).astype(jnp.int32)
    label = jnp.where(inside, label, config.data.ignore_label)
    if not moves_off_grid(config.augment):
        # Crops, flips and quarter turns move pixels from grid to grid: one read in place of four.
        return to_unit(read(images, nearest_y, nearest_x)), label, inside

    y0, x0 = jnp.floor(ys).astype(jnp.int32), jnp.floor(xs).astype(jnp.int32)
    fy, fx = (ys - y0)[..., None], (xs - x0)[..., None]
    upper, lower = (
        to_unit(read(images, y, x0)) * (1 - fx) + to_unit(read(images, y, x0 + 1)) * fx
        for y in (y0, y0 + 1)
    )
    return upper * (1 - fy) + lower * fy, label, inside
