"""An augmented crop of each example of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.augment.colour import cut_out, jitter, normalize
from fcnjax.data.augment.geometry import coordinates, flips, sample
from fcnjax.data.mirror import mirrored_ids


def augment_batch(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    extents: jax.Array | None,
    rows: jax.Array | None,
    config: ConfigDict,
    corners: jax.Array | None = None,
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
        corners: `[B, 2]` where each row's crop is to begin, far below 0 for anywhere; None: all
            anywhere.

    Returns:
        Normalised images `[B, h, w, C]` float32 with zeros outside the picture, and labels
        `[B, h, w]` int32 with `config.data.ignore_label` there.
    """
    if extents is None:
        extents = jnp.full((images.shape[0], 2), jnp.asarray(images.shape[1:3]))
    at_random = rows is not None
    other_side = mirrored_ids(config.data)

    def one(
        key: jax.Array,
        row: jax.Array | int,
        sought: jax.Array | None,
        images: jax.Array,
        labels: jax.Array,
        extents: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        place, colour = jax.random.split(key)
        ys, xs = coordinates(place, extents[row], at_random, config.augment, sought)
        image, label, inside = sample(images, labels, row, extents[row], ys, xs, config)
        if other_side is not None:
            # Mirrored both ways is turned by half: left stays left.
            mirrored = jnp.logical_xor(*flips(place, config.augment))
            label = jnp.where(mirrored, _exchanged(label, other_side), label)
        image = normalize(jitter(colour, image, config.augment), config.data)
        return cut_out(colour, image * inside[..., None], label, config)

    if at_random:
        keys = jax.random.split(key, rows.shape[0])
        axes = (0, 0, None if corners is None else 0, None, None, None)
        return jax.vmap(one, axes)(keys, rows, corners, images, labels, extents)
    # Each from itself alone: a row of the batch would be sought on all devices that share it.
    keys = jax.random.split(key, images.shape[0])
    alone = (images[:, None], labels[:, None], extents[:, None])
    return jax.vmap(one, (0, None, None, 0, 0, 0))(keys, 0, None, *alone)


def _exchanged(label: jax.Array, ids: np.ndarray) -> jax.Array:
    """The label with other class ids; what is no class stays what it is."""
    is_class = (label >= 0) & (label < len(ids))
    return jnp.where(is_class, jnp.asarray(ids)[jnp.clip(label, 0, len(ids) - 1)], label)
