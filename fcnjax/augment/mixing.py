"""MixUp, CutMix, ClassMix and Mosaic: mixing of the examples of a batch, after augmentation.

An example is mixed with the preceding examples of the batch, the first with the last, by rolling
the batch by one position (Mosaic: by up to three). If a batch is sharded over devices, each device
then passes only one image (Mosaic: up to six) to the next one; random partners would send all
images to all devices. The pairs are random in any case, since each epoch has its own order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.augment.keys import named_key
from fcnjax.errors import UserError


class MixedBatch(NamedTuple):
    """A batch to train on, with the labels and weights that its loss needs.

    Attributes:
        image: `[B, h, w, C]` float32.
        label: `[B, h, w]` int32.
        other: `[B, h, w]` int32, the labels of the blended images, equal to `label` in examples
            that were not blended. None without MixUp.
        weight: Float32 scalar in 0.5..1, the weight of `label` relative to `other`. None without
            MixUp.
        share: Float32 scalar that scales the loss of `label` if this is a part of a batch (gradient
            accumulation). None for a full batch.
        other_share: The same for `other`.
    """

    image: jax.Array
    label: jax.Array
    other: jax.Array | None = None
    weight: jax.Array | None = None
    share: jax.Array | None = None
    other_share: jax.Array | None = None

    def loss(
        self, loss_fn: Callable[..., Any], outputs: dict[str, Any], valid: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Return the loss and its terms; with MixUp, the weighted mean over both labels.

        Args:
            loss_fn: A loss made by `fcnjax.losses.make_loss`.
            outputs: The outputs of the model.
            valid: Bool `[B]`.
        """
        loss = _scale(self.share, loss_fn(outputs, self.label, valid))
        if self.other is None:
            return loss
        other = _scale(self.other_share, loss_fn(outputs, self.other, valid))
        return jax.tree.map(lambda a, b: self.weight * a + (1 - self.weight) * b, loss, other)


def _scale(share: jax.Array | None, values: Any) -> Any:
    return values if share is None else jax.tree.map(lambda value: share * value, values)


def mix_batch(
    key: jax.Array, images: jax.Array, labels: jax.Array, config: ConfigDict
) -> MixedBatch:
    """Mix the examples of a batch; each example is mixed by one method at most.

    Args:
        key: The random key that was passed to `augment_batch`.
        images: `[B, h, w, C]` float32.
        labels: `[B, h, w]` int32.
        config: The full config. `augment.mixup`, `cutmix`, `classmix` and `mosaic` are the
            probabilities of the methods. If all are 0, the batch is unchanged.

    Raises:
        UserError: The batch is too small for a method.
    """
    augment = config.augment
    methods = [name for name in ("cutmix", "classmix", "mosaic", "mixup") if augment[name]]
    if not methods:
        return MixedBatch(images, labels)
    min_size = 4 if augment.mosaic else 2
    if len(images) < min_size:
        raise UserError(
            f"config.train.batch_size: {len(images)} is too small for config.augment."
            f"{'mosaic' if augment.mosaic else methods[0]}; valid: {min_size} or more"
        )
    # One uniform number in 0..1 per example; each method owns an interval of it.
    draw = jax.random.uniform(named_key(key, "mixing"), (len(images),))
    chosen, start = {}, 0.0
    for name in methods:
        chosen[name] = (draw >= start) & (draw < start + augment[name])
        start += augment[name]

    # The rolls are shared by all methods, since each is a transfer between devices.
    offsets = range(1, min_size)
    before = [(jnp.roll(images, offset, 0), jnp.roll(labels, offset, 0)) for offset in offsets]
    mixed = _paste(key, images, labels, before, chosen, len(config.data.class_names))
    if not augment.mixup:
        return mixed
    alpha = augment.mixup_alpha
    share = jax.random.beta(named_key(key, "mixup"), alpha, alpha)
    # The two images of a pair are interchangeable: the example itself gets the larger weight.
    weight = jnp.maximum(share, 1 - share)
    other_image, other_label = before[0]
    blends = chosen["mixup"][:, None, None]
    blended = weight * images + (1 - weight) * other_image
    return MixedBatch(
        jnp.where(blends[..., None], blended, mixed.image),
        mixed.label,
        jnp.where(blends, other_label, mixed.label),
        weight,
    )


def _paste(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    before: list[tuple[jax.Array, jax.Array]],
    chosen: dict[str, jax.Array],
    classes: int,
) -> MixedBatch:
    """Take each pixel, image and label alike, from the example itself or one before it."""
    batch, height, width = labels.shape
    # The source of each pixel, as a number of positions back in the batch.
    offsets = jnp.zeros(labels.shape, jnp.int32)

    def draw_offsets(name: str, draw: Callable[..., jax.Array], *examples: jax.Array) -> jax.Array:
        keys = jax.random.split(named_key(key, name), batch)
        return jnp.where(chosen[name][:, None, None], jax.vmap(draw)(keys, *examples), offsets)

    if "cutmix" in chosen:
        offsets = draw_offsets("cutmix", lambda key: _cutmix_mask(key, height, width))
    if "classmix" in chosen:
        offsets = draw_offsets(
            "classmix", lambda key, label: _classmix_mask(key, label, classes), before[0][1]
        )
    if "mosaic" in chosen:
        offsets = draw_offsets("mosaic", lambda key: _mosaic_quadrants(key, height, width))
    image, label = images, labels
    for offset, (other_image, other_label) in enumerate(before, 1):
        is_other = offsets == offset
        image = jnp.where(is_other[..., None], other_image, image)
        label = jnp.where(is_other, other_label, label)
    return MixedBatch(image, label)


def _cutmix_mask(key: jax.Array, height: int, width: int) -> jax.Array:
    """Draw a rectangle as in CutMix (Yun et al., 2019): int32 `[h, w]`, 1 inside.

    Its area is uniform between zero and the full image. Its centre is uniform in the image, and
    the rectangle is clipped at the border.
    """
    area_key, centre_key = jax.random.split(key)
    side = jnp.sqrt(jax.random.uniform(area_key))
    centre = jax.random.uniform(centre_key, (2,))
    ys, xs = (jnp.arange(height) + 0.5) / height, (jnp.arange(width) + 0.5) / width
    rows, columns = jnp.abs(ys - centre[0]) < side / 2, jnp.abs(xs - centre[1]) < side / 2
    return (rows[:, None] & columns[None, :]).astype(jnp.int32)


def _classmix_mask(key: jax.Array, label: jax.Array, classes: int) -> jax.Array:
    """Draw half of the classes as in ClassMix (Olsson et al., 2021): int32 `[h, w]`, 1 on them.

    Half of the classes in the label, rounded down; ignored pixels have no class.
    """
    ids = jnp.arange(classes)
    # Comparisons, not a gather: XLA fuses them into the operations that use them.
    present = (label[..., None] == ids).any((0, 1))
    rank = jnp.where(present, jax.random.uniform(key, (classes,)), 2).argsort().argsort()
    selected = rank < present.sum() // 2
    return ((label[..., None] == ids) & selected).any(-1).astype(jnp.int32)


def _mosaic_quadrants(key: jax.Array, height: int, width: int) -> jax.Array:
    """Draw quadrants as in Mosaic (Bochkovskiy et al., 2020): int32 `[h, w]`, 0 to 3.

    The common corner lies in the middle half of each side. A quadrant shows the same region of its
    own example: nothing is scaled or moved.
    """
    point = jax.random.uniform(key, (2,), minval=0.25, maxval=0.75)
    below = jnp.arange(height) >= jnp.round(point[0] * height)
    right = jnp.arange(width) >= jnp.round(point[1] * width)
    return 2 * below[:, None].astype(jnp.int32) + right[None, :].astype(jnp.int32)
