"""Colour jitter, blur, noise and cutout of one image with any number of channels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment.keys import named_key

# ITU-R BT.601, the weights of luma in JPEG and in torchvision's colour jitter.
_GREY = (0.299, 0.587, 0.114)


def to_unit(image: jax.Array) -> jax.Array:
    """Return pixels as float32 in 0..1; integers are divided by the maximum of their type."""
    if jnp.issubdtype(image.dtype, jnp.integer):
        return image.astype(jnp.float32) / float(np.iinfo(image.dtype).max)
    return image.astype(jnp.float32)


def normalize(image: jax.Array, data: ConfigDict) -> jax.Array:
    """Normalise `[..., C]` pixels in 0..1 by `config.data.mean` and `.std`."""
    return (image - jnp.asarray(data.mean, jnp.float32)) / jnp.asarray(data.std, jnp.float32)


def colour_jitter(key: jax.Array, image: jax.Array, augment: ConfigDict) -> jax.Array:
    """Change the colours of an image, blur it and add noise, as set in `config.augment`.

    Args:
        key: The example's random key.
        image: `[h, w, C]` float32 in 0..1.
        augment: `config.augment`. Saturation, hue and grayscale apply to three channels only.

    Returns:
        `[h, w, C]` float32 in 0..1.
    """
    image = _levels(key, image, augment)
    is_rgb = image.shape[-1] == 3
    if augment.hue and is_rgb:
        shift = jax.random.uniform(named_key(key, "hue"), (), minval=-1, maxval=1)
        image = shift_hue(image, augment.hue * shift)
    if augment.grayscale and is_rgb:
        happens = jax.random.bernoulli(named_key(key, "grayscale"), augment.grayscale)
        image = jnp.where(happens, _grey(image), image)
    if augment.blur:
        sigma = augment.blur * jax.random.uniform(named_key(key, "blur"))
        image = blur(image, sigma, math.ceil(3 * augment.blur))
    if augment.noise:
        deviation_key, noise_key = jax.random.split(named_key(key, "noise"))
        deviation = augment.noise * jax.random.uniform(deviation_key)
        image = jnp.clip(image + deviation * jax.random.normal(noise_key, image.shape), 0, 1)
    return image


def _levels(key: jax.Array, image: jax.Array, augment: ConfigDict) -> jax.Array:
    """Change brightness, contrast, saturation and gamma."""
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
        grey = _grey(image)
        image = grey + (image - grey) * (1 + saturation)
    if augment.brightness or augment.contrast or augment.saturation or augment.gamma:
        image = jnp.clip(image, 0, 1)
    if augment.gamma:
        image = image ** (2.0**gamma)
    return image


def _grey(image: jax.Array) -> jax.Array:
    """Return the luma `[h, w, 1]` of RGB `[h, w, 3]`."""
    return (image * jnp.asarray(_GREY)).sum(-1, keepdims=True)


def shift_hue(image: jax.Array, shift: jax.Array | float) -> jax.Array:
    """Shift the hue in HSV space (Smith, 1978); saturation and value stay the same.

    Args:
        image: `[h, w, 3]` RGB in 0..1.
        shift: The shift as a fraction of the hue circle; 1/3 turns red into green.
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = image.max(-1)
    chroma = value - image.min(-1)
    # Grey has no hue. The value used for it does not matter: it is multiplied by a chroma of 0.
    divisor = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # The usual closed form of the conversion from HSV to RGB.
    distance = (jnp.asarray([5.0, 3.0, 1.0]) + (sixths + 6 * shift)[..., None]) % 6
    deficit = jnp.clip(jnp.minimum(distance, 4 - distance), 0, 1)
    return value[..., None] - chroma[..., None] * deficit


def blur(image: jax.Array, sigma: jax.Array | float, radius: int) -> jax.Array:
    """Blur with a Gaussian kernel; the border is padded with its edge pixels.

    Args:
        image: `[h, w, C]`.
        sigma: Standard deviation in pixels; 0 leaves the image unchanged.
        radius: Radius of the truncated kernel in pixels.
    """
    offsets = jnp.arange(-radius, radius + 1)
    weights = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 1e-3)) ** 2)
    weights /= weights.sum()
    for axis, length in enumerate(image.shape[:2]):
        padding = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
        padded = jnp.pad(image, padding, mode="edge")
        image = sum(
            weights[i] * jax.lax.slice_in_dim(padded, i, i + length, axis=axis)
            for i in range(2 * radius + 1)
        )
    return image


def cutout(
    key: jax.Array, image: jax.Array, label: jax.Array, config: ConfigDict
) -> tuple[jax.Array, jax.Array]:
    """Apply cutout (DeVries and Taylor, 2017), with the rectangle fully inside the image.

    Args:
        key: The example's random key.
        image: `[h, w, C]`, normalised. The rectangle is filled with zeros.
        label: `[h, w]` int32. Ignored in the rectangle if `config.augment.cutout_ignores` is set.
        config: The full config.

    Returns:
        The image and the label.
    """
    augment = config.augment
    if not augment.cutout:
        return image, label
    apply_key, *position_keys = jax.random.split(named_key(key, "cutout"), 3)
    hole = jax.random.bernoulli(apply_key, augment.cutout)
    shapes = ((-1, 1), (1, -1))
    for position_key, length, shape in zip(position_keys, label.shape, shapes, strict=True):
        side = max(round(augment.cutout_size * length), 1)
        first = jax.random.randint(position_key, (), 0, length - side + 1)
        position = jnp.arange(length).reshape(shape)
        hole = hole & (position >= first) & (position < first + side)
    if augment.cutout_ignores:
        label = jnp.where(hole, config.data.ignore_label, label)
    return jnp.where(hole[..., None], 0, image), label
