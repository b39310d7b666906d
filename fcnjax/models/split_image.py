"""Splitting or padding images to the squares that a model sees: `config.eval.resize`.

As the processor of EoMT: overlapping squares have the shorter side of an image, follow its longer
side at equal distances, and cover it; what the model makes of them is averaged. Or one square has
the entire image, and zeros at its lower and right edges.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from fcnjax.models.layers.feature_map import FeatureMap, map_data, zero_outside
from fcnjax.models.layers.resize import resize_like


def show_input(x: FeatureMap, resize: ConfigDict) -> FeatureMap:
    """Return what a model sees of resized images `[B, H, W, C]`: squares, padded images, or them.

    Args:
        x: The images, as `resize_input` returns them.
        resize: `config.eval.resize`.
    """
    if resize.split:
        return split_image(x, resize.size[0])
    return pad_image(x, resize) if resize.pad else x


def restore_logits(
    logits: jax.Array, seen: FeatureMap, like: FeatureMap, resize: ConfigDict, *, are_scores: bool
) -> jax.Array:
    """Return the logits of images, at the size of `like`, from those of what a model saw of them.

    Args:
        logits: Of the images that `show_input` returned, at their size.
        seen: The images that it was given.
        like: The images as stored.
        resize: `config.eval.resize`, which splits or pads.
        are_scores: Whether the logits are logarithms of scores, which are averaged and resized.
    """
    data = jnp.exp(logits) if are_scores else logits
    if resize.split:
        x = merge_squares(data, seen)
    elif resize.pad == "crop":
        x = FeatureMap(data[:, : seen.size[0], : seen.size[1]], seen.extent)
    else:
        x = pad_image(seen, resize).replace(data=data)
    x = resize_like(x, like)
    if are_scores:
        x = map_data(lambda data: jnp.log(jnp.maximum(data, jnp.finfo(data.dtype).tiny)), x)
    return x.data


def pad_image(x: FeatureMap, resize: ConfigDict) -> FeatureMap:
    """Return images with zeros at the lower and right edges, up to `resize.size`.

    The zeros belong to the images: the extent of the result has them.
    """
    height, width = resize.size[0], resize.size[-1]
    pads = [
        (0, 0),
        *((0, max(new - old, 0)) for new, old in zip((height, width), x.size, strict=True)),
    ]
    data = jnp.pad(zero_outside(x), [*pads, (0, 0)])
    is_limit = resize.rule in ("stretch", "longest_edge") or len(resize.size) == 2
    if height == width and is_limit and resize.rule != "least_change":
        # No image is larger. Without an extent, no layer masks anything.
        return FeatureMap(data[:, :height, :width])
    extent = None if x.extent is None else jnp.maximum(x.extent, jnp.asarray((height, width)))
    return FeatureMap(data, extent)


def split_image(x: FeatureMap, side: int) -> FeatureMap:
    """Return the squares of images, those of an example one after the other.

    Args:
        x: `[B, H, W, C]`; the shorter side of each example is `side`.
        side: Of the squares.

    Returns:
        `[B N, side, side, C]`, where N squares cover the longer side of the array. An example that
        needs fewer has its last square several times.
    """
    if x.extent is None:
        starts = _static_starts(x.size, side)
        squares = jnp.stack([x.data[:, i : i + side, j : j + side] for i, j in starts], axis=1)
    else:
        x = _fit(x, side)
        cut = jax.vmap(functools.partial(_cut, side=side), (None, 0))
        squares = jax.vmap(cut)(x.data, _starts(x, side)[0])
    return FeatureMap(squares.reshape(-1, side, side, x.channels))


def merge_squares(squares: jax.Array, like: FeatureMap) -> FeatureMap:
    """Return the means of the squares that cover each pixel.

    Args:
        squares: `[B N, side, side, C]`, what a model made of the result of `split_image`.
        like: The map that was split.

    Returns:
        `[B, H, W, C]`, of the size and extent of `like`.
    """
    side = squares.shape[1]
    squares = squares.reshape(like.data.shape[0], -1, *squares.shape[1:])
    # The sums of the ones are the numbers of squares.
    parts = jnp.concatenate([squares, jnp.ones_like(squares[..., :1])], axis=-1)
    if like.extent is None:
        starts = _static_starts(like.size, side)
        sums = sum(_pad_square(parts[:, k], start, like.size) for k, start in enumerate(starts))
    else:
        canvas = _fit(like, side)
        sum_squares = functools.partial(_sum, size=canvas.size)
        sums = jax.vmap(sum_squares)(parts, *_starts(canvas, side))[
            :, : like.size[0], : like.size[1]
        ]
    return FeatureMap(sums[..., :-1] / jnp.maximum(sums[..., -1:], 1), like.extent)


def _static_starts(size: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Return the first row and column of each square of an image of this size."""
    longest = max(size)
    count = max(-(-longest // side), 1)
    offsets = [i * max(longest - side, 0) // max(count - 1, 1) for i in range(count)]
    return [(offset, 0) if size[0] > size[1] else (0, offset) for offset in offsets]


def _pad_square(square: jax.Array, start: tuple[int, int], size: tuple[int, int]) -> jax.Array:
    """Return maps `[B, H, W, C]` of zeros with squares `[B, side, side, C]` in them."""
    pads = [
        (first, length - first - square.shape[1]) for first, length in zip(start, size, strict=True)
    ]
    return jnp.pad(square, [(0, 0), *pads, (0, 0)])


def _fit(x: FeatureMap, side: int) -> FeatureMap:
    """Return a map whose array has at least the size of a square."""
    pads = [(0, 0), *((0, max(side - size, 0)) for size in x.size), (0, 0)]
    return x.replace(data=jnp.pad(x.data, pads))


def _starts(x: FeatureMap, side: int) -> tuple[jax.Array, jax.Array]:
    """Return the starts of the squares of each example `[B, N, 2]`, and their numbers `[B]`."""
    longest = x.extent.max(1)
    counts = jnp.maximum(-(-longest // side), 1)
    index = jnp.minimum(jnp.arange(-(-max(x.size) // side))[None], counts[:, None] - 1)
    # The last square ends at the end; rounded down, as the original.
    distance = jnp.maximum(longest - side, 0)[:, None]
    offsets = index * distance // jnp.maximum(counts[:, None] - 1, 1)
    is_tall = (x.extent[:, 0] > x.extent[:, 1])[:, None]
    return jnp.stack([jnp.where(axis, offsets, 0) for axis in (is_tall, ~is_tall)], -1), counts


def _cut(image: jax.Array, start: jax.Array, side: int) -> jax.Array:
    return lax.dynamic_slice(image, (*start, 0), (side, side, image.shape[-1]))


def _sum(
    parts: jax.Array, starts: jax.Array, count: jax.Array, *, size: tuple[int, int]
) -> jax.Array:
    """Return the sum `[H, W, C]` of the first `count` squares `[N, side, side, C]`, each placed."""

    def add_square(i: int, total: jax.Array) -> jax.Array:
        part = jnp.where(i < count, parts[i], 0)
        return lax.dynamic_update_slice(
            total, _cut(total, starts[i], part.shape[0]) + part, (*starts[i], 0)
        )

    return lax.fori_loop(
        0, len(parts), add_square, jnp.zeros((*size, parts.shape[-1]), parts.dtype)
    )
