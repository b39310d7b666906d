"""Changes of colour, blur, noise and holes: of one image, on any number of channels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment.keys import named_key

# ITU-R BT.601, the weights of grey in JPEG and in torchvision's colour jitter.
_GREY = (0.299, 0.587, 0.114)


def to_unit(image: jax.Array) -> jax.Array:
    """Pixels as float32 in 0..1: integers divided by their type's greatest value."""
    if jnp.issubdtype(image.dtype, jnp.integer):
        return image.astype(jnp.float32) / float(np.iinfo(image.dtype).max)
    return image.astype(jnp.float32)


def normalize(image: jax.Array, data: ConfigDict) -> jax.Array:
    """Scales `[..., C]` pixels in 0..1 by `config.data.mean` and `.std`."""
    return (image - jnp.asarray(data.mean, jnp.float32)) / jnp.asarray(data.std, jnp.float32)


def jitter(key: jax.Array, image: jax.Array, augment: ConfigDict) -> jax.Array:
    """Changes the colours of an image, blurs it and adds noise, as `config.augment` says.

    Args:
        key: The example's random key.
        image: `[h, w, C]` float32 in 0..1.
        augment: `config.augment`; saturation, hue and grayscale leave all but 3 channels alone.

    Returns:
        `[h, w, C]` float32 in 0..1.
    """
    image = _levels(key, image, augment)
    coloured = image.shape[-1] == 3
    if augment.hue and coloured:
        turn = jax.random.uniform(named_key(key, "hue"), (), minval=-1, maxval=1)
        image = turn_hue(image, augment.hue * turn)
    if augment.grayscale and coloured:
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
    """Changes brightness, contrast, saturation and gamma."""
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
    """The luma `[h, w, 1]` of `[h, w, 3]`."""
    return (image * jnp.asarray(_GREY)).sum(-1, keepdims=True)


def turn_hue(image: jax.Array, turn: jax.Array | float) -> jax.Array:
    """Turns the hue of HSV (Smith, 1978); saturation and value stay.

    Args:
        image: `[h, w, 3]` RGB in 0..1.
        turn: A fraction of a whole turn; a third makes red green.
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = image.max(-1)
    chroma = value - image.min(-1)
    # Grey has no hue; whatever stands for it is multiplied by its chroma of 0.
    divisor = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # A channel lacks its chroma as far as the hue is from the third of the circle that it rules.
    distance = (jnp.asarray([5.0, 3.0, 1.0]) + (sixths + 6 * turn)[..., None]) % 6
    lack = jnp.clip(jnp.minimum(distance, 4 - distance), 0, 1)
    return value[..., None] - chroma[..., None] * lack


def blur(image: jax.Array, sigma: jax.Array | float, radius: int) -> jax.Array:
    """Blurs by a Gaussian; beyond the border is the pixel on it.

    Args:
        image: `[h, w, C]`.
        sigma: Its deviation in pixels; 0 blurs nothing.
        radius: Where the kernel is cut off, in pixels.
    """
    offsets = jnp.arange(-radius, radius + 1)
    weights = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 1e-3)) ** 2)
    weights /= weights.sum()
    for axis, length in enumerate(image.shape[:2]):
        room = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
        padded = jnp.pad(image, room, mode="edge")
        image = sum(
            weights[i] * jax.lax.slice_in_dim(padded, i, i + length, axis=axis)
            for i in range(2 * radius + 1)
        )
    return image


def cut_out(
    key: jax.Array, image: jax.Array, label: jax.Array, config: ConfigDict
) -> tuple[jax.Array, jax.Array]:
    """Makes a hole in the image: cutout (DeVries and Taylor, 2017), its rectangle wholly inside.

    Args:
        key: The example's random key.
        image: `[h, w, C]`, normalised; the hole holds zeros.
        label: `[h, w]` int32; ignored in the hole where `config.augment.cutout_ignores`.
        config: The whole config.

    Returns:
        The image and the label.
    """
    augment = config.augment
    if not augment.cutout:
        return image, label
    whether, *places = jax.random.split(named_key(key, "cutout"), 3)
    hole = jax.random.bernoulli(whether, augment.cutout)
    for place, length, shape in zip(places, label.shape, ((-1, 1), (1, -1)), strict=True):
        side = max(round(augment.cutout_size * length), 1)
        first = jax.random.randint(place, (), 0, length - side + 1)
        along = jnp.arange(length).reshape(shape)
        hole = hole & (along >= first) & (along < first + side)
    if augment.cutout_ignores:
        label = jnp.where(hole, config.data.ignore_label, label)
    return jnp.where(hole[..., None], 0, image), label
