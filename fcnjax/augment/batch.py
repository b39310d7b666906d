"""An augmented crop of each example of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fcnjax.augment.colour import cut_out, jitter, normalize
from fcnjax.augment.geometry import coordinates, flips, sample
from fcnjax.data.loading.canvas import canvas_size
from fcnjax.data.mirror import mirrored_ids


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
    """Augments one crop an example, from the centre of its canvas.

    Args:
        key: A random key; the same key gives the same crops, on any number of devices.
        images: `[B, H, W, C]` canvases, as stored; with `rows`, `[N, H, W, C]` whole images.
        labels: `[B, H, W]` class ids; with `rows`, `[N, H, W]`.
        config: The whole config; reads `augment` and `data`.
        bounds: `[B, 4]` int32, where the image lies in each canvas, as of `crop_canvas`; None
            where it fills them. Nothing outside is read.
        rows: `[B]` int32, the image that each canvas is cut from; None: the arrays hold canvases.
        corners: `[B, 2]` int32, with `rows`: where each canvas begins in its image.

    Returns:
        Normalised images `[B, h, w, C]` float32 with zeros outside the picture, and labels
        `[B, h, w]` int32 with `config.data.ignore_label` there.
    """
    batch = len(images) if rows is None else len(rows)
    canvas = images.shape[1:3] if rows is None else canvas_size(config.augment)
    if bounds is None:
        bounds = jnp.broadcast_to(jnp.asarray((0, 0, *canvas)), (batch, 4))
    if rows is None:
        corners = jnp.zeros((batch, 2), jnp.int32)
    flip_permutation = mirrored_ids(config.data)

    def one(
        key: jax.Array,
        bounds: jax.Array,
        corner: jax.Array,
        row: jax.Array | int,
        images: jax.Array,
        labels: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        place, colour = jax.random.split(key)
        ys, xs = coordinates(place, canvas, config.augment)
        image, label, inside = sample(images, labels, row, corner, bounds, ys, xs, config)
        if flip_permutation is not None:
            # Mirrored both ways is turned by half: left stays left.
            mirrored = jnp.logical_xor(*flips(place, config.augment))
            label = jnp.where(mirrored, _exchanged(label, flip_permutation), label)
        image = normalize(jitter(colour, image, config.augment), config.data)
        return cut_out(colour, image * inside[..., None], label, config)

    keys = jax.random.split(key, batch)
    if rows is not None:
        axes = (0, 0, 0, 0, None, None)
        return jax.vmap(one, axes)(keys, bounds, corners, rows, images, labels)
    # Each from itself alone: a row of the batch would be sought on all devices that share it.
    alone = (images[:, None], labels[:, None])
    return jax.vmap(one, (0, 0, 0, None, 0, 0))(keys, bounds, corners, 0, *alone)


def _exchanged(label: jax.Array, ids: np.ndarray) -> jax.Array:
    """The label with other class ids; what is no class stays what it is."""
    is_class = (label >= 0) & (label < len(ids))
    return jnp.where(is_class, jnp.asarray(ids)[jnp.clip(label, 0, len(ids) - 1)], label)
