"""Random augmentation on the device: one affine sampling a crop, then colour.

Image and label go through the same geometry, the image by bilinear and the label by nearest
sampling; what lies outside the picture is ignored. Everything here is traced into the training
step, so that the host ships pictures as they are stored.
"""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.errors import UserError

# ITU-R BT.601, the weights of grey in JPEG and in torchvision's colour jitter.
_GREY = (0.299, 0.587, 0.114)


def check_augment(augment: ConfigDict) -> None:
    """Raises UserError for a setting of `config.augment` out of its range."""
    if len(augment.crop) != 2 or min(augment.crop) < 1:
        raise UserError(f"config.augment.crop: {augment.crop} is not a height and width over 0")
    if len(augment.scale) != 2 or not 0 < augment.scale[0] <= augment.scale[1]:
        raise UserError(f"config.augment.scale: {augment.scale} is not a range of zooms over 0")
    for key in ("hflip", "vflip", "contrast", "saturation"):
        if not 0 <= augment[key] <= 1:
            raise UserError(f"config.augment.{key}: {augment[key]} is not in 0..1")
    for key in ("rotation", "brightness", "gamma"):
        if augment[key] < 0:
            raise UserError(f"config.augment.{key}: {augment[key]} is below 0")


def to_unit(image: jax.Array) -> jax.Array:
    """Pixels as float32 in 0..1: integers divided by their type's greatest value."""
    if jnp.issubdtype(image.dtype, jnp.integer):
        return image.astype(jnp.float32) / float(np.iinfo(image.dtype).max)
    return image.astype(jnp.float32)


def normalize(image: jax.Array, data: ConfigDict) -> jax.Array:
    """Scales `[..., C]` pixels in 0..1 by `config.data.mean` and `.std`."""
    return (image - jnp.asarray(data.mean, jnp.float32)) / jnp.asarray(data.std, jnp.float32)


def augment_batch(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    extents: jax.Array | None,
    rows: jax.Array | None,
    config: ConfigDict,
) -> tuple[jax.Array, jax.Array]:
    """Draws one augmented crop an example.

    Args:
        key: A random key; the same key gives the same crops, on any number of devices.
        images: `[N, H, W, C]`, as stored.
        labels: `[N, H, W]` class ids.
        extents: `[N, 2]` true heights and widths, or None where the arrays are filled.
        rows: `[B]` indices of the examples to draw from, each at a random place; or None, where
            the host cropped at random already: then every example, at its centre.
        config: The whole config; reads `augment` and `data`.

    Returns:
        Normalised images `[B, h, w, C]` float32 with zeros outside the picture, and labels
        `[B, h, w]` int32 with `config.data.ignore_label` there.
    """
    if extents is None:
        extents = jnp.full((images.shape[0], 2), jnp.asarray(images.shape[1:3]))
    at_random = rows is not None

    def one(
        key: jax.Array,
        row: jax.Array | int,
        images: jax.Array,
        labels: jax.Array,
        extents: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        place, colour = jax.random.split(key)
        ys, xs = _coordinates(place, extents[row], at_random, config.augment)
        image, label, inside = _sample(images, labels, row, extents[row], ys, xs, config)
        image = normalize(_jitter(colour, image, config.augment), config.data)
        return image * inside[..., None], label

    if at_random:
        keys = jax.random.split(key, rows.shape[0])
        return jax.vmap(one, (0, 0, None, None, None))(keys, rows, images, labels, extents)
    # Each from itself alone: a row of the batch would be sought on all devices that share it.
    keys = jax.random.split(key, images.shape[0])
    alone = (images[:, None], labels[:, None], extents[:, None])
    return jax.vmap(one, (0, None, 0, 0, 0))(keys, 0, *alone)


def _coordinates(
    key: jax.Array, extent: jax.Array, at_random: bool, augment: ConfigDict
) -> tuple[jax.Array, jax.Array]:
    """Where in the picture each pixel of the crop comes from: two `[h, w]` float32 arrays."""
    place, zoom_key, turn_key, hflip_key, vflip_key = jax.random.split(key, 5)
    size = jnp.asarray(augment.crop)
    room = extent - size
    if at_random:
        corner = jax.random.randint(place, (2,), 0, jnp.maximum(room, 0) + 1)
        corner = jnp.where(room >= 0, corner, room // 2)
    else:
        corner = room // 2
    centre = corner + (size - 1) / 2

    dy = jnp.arange(augment.crop[0], dtype=jnp.float32)[:, None] - (augment.crop[0] - 1) / 2
    dx = jnp.arange(augment.crop[1], dtype=jnp.float32)[None, :] - (augment.crop[1] - 1) / 2
    dy = jnp.where(jax.random.bernoulli(vflip_key, augment.vflip), -dy, dy)
    dx = jnp.where(jax.random.bernoulli(hflip_key, augment.hflip), -dx, dx)
    # Zooms are drawn evenly in their logarithm: x2 and x0.5 are as likely.
    low, high = np.log(augment.scale[0]), np.log(augment.scale[1])
    zoom = jnp.exp(jax.random.uniform(zoom_key, (), minval=low, maxval=high))
    turn = jnp.deg2rad(augment.rotation) * jax.random.uniform(turn_key, (), minval=-1, maxval=1)
    cos, sin = jnp.cos(turn) / zoom, jnp.sin(turn) / zoom
    return centre[0] + cos * dy + sin * dx, centre[1] - sin * dy + cos * dx


def _sample(
    images: jax.Array,
    labels: jax.Array,
    row: jax.Array,
    extent: jax.Array,
    ys: jax.Array,
    xs: jax.Array,
    config: ConfigDict,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Reads `[h, w, C]` pixels in 0..1, `[h, w]` labels and what of them lies inside."""
    height, width = extent[0], extent[1]
    inside = (ys >= -0.5) & (ys <= height - 0.5) & (xs >= -0.5) & (xs <= width - 0.5)

    def read(array: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
        y = jnp.clip(y, 0, height - 1)
        x = jnp.clip(x, 0, width - 1)
        return array[row, y, x]

    nearest_y, nearest_x = jnp.round(ys).astype(jnp.int32), jnp.round(xs).astype(jnp.int32)
    label = read(labels, nearest_y, nearest_x).astype(jnp.int32)
    label = jnp.where(inside, label, config.data.ignore_label)
    if tuple(config.augment.scale) == (1.0, 1.0) and config.augment.rotation == 0:
        # Crops and flips move pixels from grid to grid: one read in place of four.
        return to_unit(read(images, nearest_y, nearest_x)), label, inside

    y0, x0 = jnp.floor(ys).astype(jnp.int32), jnp.floor(xs).astype(jnp.int32)
    fy, fx = (ys - y0)[..., None], (xs - x0)[..., None]
    top = to_unit(read(images, y0, x0)) * (1 - fx) + to_unit(read(images, y0, x0 + 1)) * fx
    low = to_unit(read(images, y0 + 1, x0)) * (1 - fx) + to_unit(read(images, y0 + 1, x0 + 1)) * fx
    return top * (1 - fy) + low * fy, label, inside


def _jitter(key: jax.Array, image: jax.Array, augment: ConfigDict) -> jax.Array:
    """Changes brightness, contrast, saturation and gamma of `[h, w, C]` pixels in 0..1."""
    brightness, contrast, saturation, gamma = (
        amount * jax.random.uniform(part, (), minval=-1, maxval=1)
        for part, amount in zip(
            jax.random.split(key, 4),
            (augment.brightness, augment.contrast, augment.saturation, augment.gamma),
            strict=True,
        )
    )
    if augment.brightness:
        image = image + brightness
    if augment.contrast:
        mean = image.mean()
        image = mean + (image - mean) * (1 + contrast)
    if augment.saturation and image.shape[-1] == 3:
        grey = (image * jnp.asarray(_GREY)).sum(-1, keepdims=True)
        image = grey + (image - grey) * (1 + saturation)
    if augment.brightness or augment.contrast or augment.saturation or augment.gamma:
        image = jnp.clip(image, 0, 1)
    if augment.gamma:
        image = image ** (2.0**gamma)
    return image
