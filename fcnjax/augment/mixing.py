"""Mixing of the examples of a batch, after each is augmented by itself.

An example is mixed with those before it in the batch, the first with the last, by rolling the
batch by one place (mosaic: by up to three). Where a batch is divided over devices, that passes one
image (mosaic: up to six) from each device to the next and no more; a partner drawn at random would
pass all images to all devices. Which examples meet is random anyhow: each epoch has its own order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.augment.keys import named_key
from fcnjax.errors import UserError


class MixedBatch(NamedTuple):
    """A batch to train on, and what its loss is.

    Attributes:
        image: `[B, h, w, C]` float32.
        label: `[B, h, w]` int32.
        other: `[B, h, w]` int32, the labels of what was blended in; None without mixup. Equal to
            `label` in examples that were not blended.
        weight: Float32 scalar in 0.5..1, what `label` weighs against `other`; None without mixup.
        share: Float32 scalar that the loss of `label` is multiplied by, where this is a part of a
            batch; None: it is the whole.
        other_share: The like for `other`.
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
        """The loss and its terms; with mixup, the weighted mean of those of both labels.

        Args:
            loss_fn: As of `fcnjax.losses.make_loss`.
            outputs: What the model returned.
            valid: Bool `[B]`.
        """
        own = _times(self.share, loss_fn(outputs, self.label, valid))
        if self.other is None:
            return own
        other = _times(self.other_share, loss_fn(outputs, self.other, valid))
        return jax.tree.map(lambda a, b: self.weight * a + (1 - self.weight) * b, own, other)


def _times(share: jax.Array | None, values: Any) -> Any:
    return values if share is None else jax.tree.map(lambda value: share * value, values)


def mix_batch(
    key: jax.Array, images: jax.Array, labels: jax.Array, config: ConfigDict
) -> MixedBatch:
    """Mixes the examples of a batch, each in one way at most.

    Args:
        key: The random key that `augment_batch` got.
        images: `[B, h, w, C]` float32.
        labels: `[B, h, w]` int32.
        config: The whole config. `augment.mixup`, `cutmix`, `classmix` and `mosaic` are the
            probabilities of each way; at 0 the batch is as it was.

    Raises:
        UserError: The batch is too small: there is none to mix with.
    """
    augment = config.augment
    ways = [name for name in ("cutmix", "classmix", "mosaic", "mixup") if augment[name]]
    if not ways:
        return MixedBatch(images, labels)
    least = 4 if augment.mosaic else 2
    if len(images) < least:
        raise UserError(
            f"config.train.batch_size: {len(images)} is too few for config.augment."
            f"{'mosaic' if augment.mosaic else ways[0]}; valid: {least} or more"
        )
    # One draw an example, in 0..1, of which each way takes its part.
    draw = jax.random.uniform(named_key(key, "mixing"), (len(images),))
    chosen, start = {}, 0.0
    for name in ways:
        chosen[name] = (draw >= start) & (draw < start + augment[name])
        start += augment[name]

    # Once for all ways: each roll is a transfer between devices.
    before = [
        (jnp.roll(images, places, 0), jnp.roll(labels, places, 0)) for places in range(1, least)
    ]
    mixed = _paste(key, images, labels, before, chosen, len(config.data.class_names))
    if not augment.mixup:
        return mixed
    alpha = augment.mixup_alpha
    share = jax.random.beta(named_key(key, "mixup"), alpha, alpha)
    # The pair may be named either way: the greater share is called the example's own.
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
    """Each pixel from the example itself or one before it, image and label alike."""
    batch, height, width = labels.shape
    # How many places before it in the batch a pixel's example is.
    back = jnp.zeros(labels.shape, jnp.int32)

    def drawn(name: str, draw: Callable[..., jax.Array], *examples: jax.Array) -> jax.Array:
        keys = jax.random.split(named_key(key, name), batch)
        return jnp.where(chosen[name][:, None, None], jax.vmap(draw)(keys, *examples), back)

    if "cutmix" in chosen:
        back = drawn("cutmix", lambda key: _rectangle(key, height, width))
    if "classmix" in chosen:
        back = drawn("classmix", lambda key, label: _half_of(key, label, classes), before[0][1])
    if "mosaic" in chosen:
        back = drawn("mosaic", lambda key: _quarters(key, height, width))
    image, label = images, labels
    for places, (image_there, label_there) in enumerate(before, 1):
        from_there = back == places
        image = jnp.where(from_there[..., None], image_there, image)
        label = jnp.where(from_there, label_there, label)
    return MixedBatch(image, label)


def _rectangle(key: jax.Array, height: int, width: int) -> jax.Array:
    """CutMix (Yun et al., 2019): int32 `[h, w]`, 1 in a rectangle.

    Its area is drawn evenly from nothing to all; its centre lies anywhere, and what hangs over
    the border is cut off.
    """
    area_key, place = jax.random.split(key)
    side = jnp.sqrt(jax.random.uniform(area_key))
    centre = jax.random.uniform(place, (2,))
    ys, xs = (jnp.arange(height) + 0.5) / height, (jnp.arange(width) + 0.5) / width
    rows, columns = jnp.abs(ys - centre[0]) < side / 2, jnp.abs(xs - centre[1]) < side / 2
    return (rows[:, None] & columns[None, :]).astype(jnp.int32)


def _half_of(key: jax.Array, label: jax.Array, classes: int) -> jax.Array:
    """ClassMix (Olsson et al., 2021): int32 `[h, w]`, 1 where the label is of half the classes.

    Half of those that the label holds, rounded down; what is ignored is no class.
    """
    ids = jnp.arange(classes)
    # Compared, not gathered: XLA fuses this into what uses it.
    present = (label[..., None] == ids).any((0, 1))
    rank = jnp.where(present, jax.random.uniform(key, (classes,)), 2).argsort().argsort()
    taken = rank < present.sum() // 2
    return ((label[..., None] == ids) & taken).any(-1).astype(jnp.int32)


def _quarters(key: jax.Array, height: int, width: int) -> jax.Array:
    """Mosaic (Bochkovskiy et al., 2020): int32 `[h, w]`, 0 to 3 in the quarters round a point.

    The point lies in the middle half of each side. Each quarter is the same part of its own
    example: nothing is made smaller, and what is at the top stays there.
    """
    point = jax.random.uniform(key, (2,), minval=0.25, maxval=0.75)
    below = jnp.arange(height) >= jnp.round(point[0] * height)
    right = jnp.arange(width) >= jnp.round(point[1] * width)
    return 2 * below[:, None].astype(jnp.int32) + right[None, :].astype(jnp.int32)
