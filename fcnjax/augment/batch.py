"""Augmentation of a batch: one crop of each example. Checks of `config.augment`."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment.colour import colour_jitter, cutout, normalize
from fcnjax.augment.geometry import MAX_ELASTIC_RATIO, crop_coordinates, sample, sample_flips
from fcnjax.config import check_section
from fcnjax.data.flip_pairs import flip_permutation
from fcnjax.data.loading.canvas import canvas_size
from fcnjax.errors import UserError

_MIXING_KEYS = ("mixup", "cutmix", "classmix", "mosaic")


def augment_batch(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    config: ConfigDict,
    *,
    bounds: jax.Array | None = None,
    rows: jax.Array | None = None,
    corners: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Augment one crop of each example, taken from the centre of its canvas.

    Args:
        key: A random key. Equal keys give equal crops on any number of devices.
        images: `[B, H, W, C]` canvases, as stored. With `rows`, `[N, H, W, C]` full images.
        labels: `[B, H, W]` class ids. With `rows`, `[N, H, W]`.
        config: The full config; `augment` and `data` are used.
        bounds: `[B, 4]` int32, the position of the image in each canvas, as returned by
            `crop_canvas`. Nothing outside is read. None if the images fill their canvases.
        rows: `[B]` int32, the image that each canvas is cut from. None if the arrays hold canvases.
        corners: `[B, 2]` int32, with `rows`: the upper left corner of each canvas in its image.

    Returns:
        Normalised images `[B, h, w, C]` float32 with zeros outside the image, and labels
        `[B, h, w]` int32 with `config.data.ignore_label` there.
    """
    batch = len(images) if rows is None else len(rows)
    canvas = images.shape[1:3] if rows is None else canvas_size(config.augment)
    if bounds is None:
        bounds = jnp.broadcast_to(jnp.asarray((0, 0, *canvas)), (batch, 4))
    if rows is None:
        corners = jnp.zeros((batch, 2), jnp.int32)
    permutation = flip_permutation(config.data)

    def augment_one(
        key: jax.Array,
        bounds: jax.Array,
        corner: jax.Array,
        row: jax.Array | int,
        images: jax.Array,
        labels: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        geometry_key, colour_key = jax.random.split(key)
        coordinates = crop_coordinates(geometry_key, canvas, config.augment)
        image, label, inside = sample(images, labels, row, corner, bounds, coordinates, config)
        if permutation is not None:
            # Two flips are a rotation by 180 degrees, which keeps left and right.
            flipped = jnp.logical_xor(*sample_flips(geometry_key, config.augment))
            label = jnp.where(flipped, _permute_classes(label, permutation), label)
        image = normalize(colour_jitter(colour_key, image, config.augment), config.data)
        return cutout(colour_key, image * inside[..., None], label, config)

    keys = jax.random.split(key, batch)
    if rows is not None:
        axes = (0, 0, 0, 0, None, None)
        return jax.vmap(augment_one, axes)(keys, bounds, corners, rows, images, labels)
    # Each example is its own array of one image: indexing into the batch would gather from all
    # devices that share it.
    alone = (images[:, None], labels[:, None])
    return jax.vmap(augment_one, (0, 0, 0, None, 0, 0))(keys, bounds, corners, 0, *alone)


def _permute_classes(label: jax.Array, permutation: np.ndarray) -> jax.Array:
    """Apply a permutation of class ids; values that are no class id stay as they are."""
    count = len(permutation)
    is_class = (label >= 0) & (label < count)
    return jnp.where(is_class, jnp.asarray(permutation)[jnp.clip(label, 0, count - 1)], label)


def check_augment(augment: ConfigDict) -> None:
    """Raise UserError if a value of `config.augment` is not valid; name the key."""
    check_section(augment, "augment")
    limit = MAX_ELASTIC_RATIO * augment.elastic_sigma
    if augment.elastic > limit:
        raise UserError(
            f"config.augment.elastic: {augment.elastic} pixels may fold the image; valid: 0 to "
            f"{limit:.3g}, or a larger config.augment.elastic_sigma"
        )
    if (total := sum(augment[key] for key in _MIXING_KEYS)) > 1 + 1e-6:
        raise UserError(
            f"config.augment: {', '.join(_MIXING_KEYS)} sum to {total:.3g}; valid: a sum of at "
            "most 1, since an example is mixed by one method at most"
        )
