"""The size at which a model sees an image: `config.eval.resize`.

A published model is often meant to see each image at one size, to which its processor resizes it.
Our own models see images at their own size.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.models.layers.antialias import resize_image
from fcnjax.models.layers.feature_map import FeatureMap

Size = tuple[int, int]
MOST = 2**14  # pixels of a side


def check_resize(resize: ConfigDict) -> None:
    """Raise UserError unless the keys of `config.eval.resize` fit each other."""
    if resize.rule and not resize.size:
        raise UserError(f"config.eval.resize.size: is empty, and rule={resize.rule} needs it")
    fits = resize.rule == "shortest_edge" and len(resize.size) == 1
    if resize.split and (not fits or resize.pad):
        raise UserError(
            "config.eval.resize.split: needs eval.resize.rule=shortest_edge, one number in "
            "eval.resize.size, and no eval.resize.pad"
        )
    if resize.pad and not (resize.rule and resize.size):
        raise UserError("config.eval.resize.pad: needs eval.resize.rule and eval.resize.size")
    if (resize.split or resize.pad) and (resize.crop or resize.multiple != 1):
        key = "split" if resize.split else "pad"
        raise UserError(
            f"config.eval.resize.{key}: needs eval.resize.crop=() and eval.resize.multiple=1"
        )


def input_size(size: Size, resize: ConfigDict) -> Size:
    """Return the height and width at which a model sees an image, before it is cropped.

    Args:
        size: Height and width of the image.
        resize: `config.eval.resize`.
    """
    new, multiple = _RULES[resize.rule](size, tuple(resize.size)), resize.multiple
    rounded = math.ceil if resize.round_up else round
    return tuple(max(rounded(side / multiple), 1) * multiple for side in new)


def depends_on_image(resize: ConfigDict) -> bool:
    """Return whether the size at which a model sees an image depends on that of the image."""
    return resize.rule not in ("", "stretch")


def _stretch(size: Size, target: Sequence[int]) -> Size:
    return target[0], target[-1]


def _shortest_edge(size: Size, target: Sequence[int]) -> Size:
    """Scale the shorter side to `target[0]`, unless the longer one would exceed `target[1]`."""
    short, long = min(size), max(size)
    new_short, new_long = target[0], target[0] * long // short
    if len(target) > 1 and long / short * target[0] > target[1]:
        # Rounded as transformers does.
        exact = target[1] * short / long
        new_short, new_long = round(exact), int(exact * long / short)
    new_short, new_long = max(new_short, 1), max(new_long, 1)
    return (new_short, new_long) if size[0] <= size[1] else (new_long, new_short)


def _least_change(size: Size, target: Sequence[int]) -> tuple[float, float]:
    """Scale both sides by that of the two factors to `target` that is nearer to 1, as DPT."""
    factors = [new / old for new, old in zip((target[0], target[-1]), size, strict=True)]
    factor = factors[1] if abs(1 - factors[1]) < abs(1 - factors[0]) else factors[0]
    return tuple(side * factor for side in size)


def _longest_edge(size: Size, target: Sequence[int]) -> Size:
    """Scale the longer side to `target[0]`."""
    return tuple(max(side * target[0] // max(size), 1) for side in size)


_RULES = {
    "": lambda size, target: size,
    "stretch": _stretch,
    "shortest_edge": _shortest_edge,
    "longest_edge": _longest_edge,
    "least_change": _least_change,
}


def set_input_size(resize: ConfigDict, requested: str | None) -> None:
    """Set `config.eval.resize` of a trained model, in place.

    Args:
        resize: `config.eval.resize`.
        requested: `original` resizes, crops and pads as the model was published; `native` leaves
            images at their size; `512` scales the shorter side to it, and `512x640` gives height
            and width. None resizes and splits as published, crops nothing, and takes padding off
            the result.

    Raises:
        UserError: It is none of these.
    """
    if requested == "original":
        return
    resize.crop = ()
    if resize.pad:
        resize.pad = "crop"
    if requested is None:
        return
    resize.rule, resize.multiple, resize.split, resize.pad = "", 1, False, ""
    if requested == "native":
        return
    sides = requested.split("x")
    valid = len(sides) <= 2 and all(side.isdecimal() and 0 < int(side) <= MOST for side in sides)
    if not valid:
        raise UserError(
            f"--resize: {requested!r} is not original, native, a side or a height and width in "
            f"1..{MOST}, such as 512 or 512x640"
        )
    resize.rule = "stretch" if len(sides) == 2 else "shortest_edge"
    resize.size = tuple(map(int, sides))


def crop_offset(size: Size, crop: Sequence[int]) -> Size:
    """Return the first row and column of a centre crop; negative where the image is smaller.

    Halves are rounded towards zero, as transformers does.
    """
    return tuple(int((side - new) / 2) for side, new in zip(size, crop, strict=True))


def resize_map(sizes: Sequence[Size], resize: ConfigDict, bucket: int) -> FeatureMap | None:
    """Return a map of the size and extents at which a model sees a batch of images.

    Args:
        sizes: Height and width of each image.
        resize: `config.eval.resize`.
        bucket: The map is a multiple of this.

    Returns:
        A map without channels; None where images are not resized.
    """
    if not resize.rule:
        return None
    new = np.asarray([input_size(tuple(map(int, size)), resize) for size in sizes], np.int32)
    if (new == new[0]).all():
        return FeatureMap(np.zeros((len(new), *map(int, new[0]), 0), np.float32))
    canvas = (-(-int(side) // bucket) * bucket for side in new.max(0))
    return FeatureMap(np.zeros((len(new), *canvas, 0), np.float32), new)


def resize_input(x: FeatureMap, resize: ConfigDict, like: FeatureMap | None) -> FeatureMap:
    """Return images `[B, H, W, C]`, as stored, at the size at which a model sees them.

    Args:
        x: The images.
        resize: `config.eval.resize`.
        like: From `resize_map`. None computes it, where it does not depend on the image or all
            images fill the array.

    Raises:
        UserError: `like` is None, and the size of the array is not enough to compute it.
    """
    if not resize.rule:
        return x
    if like is None:
        like = _static_map(x, resize)
    resized = resize_image(x, like, resize.filter)
    return _crop(resized, tuple(resize.crop)) if resize.crop else resized


def _static_map(x: FeatureMap, resize: ConfigDict) -> FeatureMap:
    batch, size = x.data.shape[0], x.size
    if resize.rule != "stretch":
        if x.extent is not None or not all(isinstance(side, int) for side in size):
            raise UserError(
                f"config.eval.resize.rule: {resize.rule} depends on the size of each image, which "
                "this program does not know; valid here: images of one size, or --resize=native or "
                "a fixed size such as --resize=512x512"
            )
    else:
        size = (0, 0)
    return FeatureMap(jnp.zeros((batch, *input_size(size, resize), 0)))


def _crop(x: FeatureMap, crop: Size) -> FeatureMap:
    """Crop the centre of images, with zeros where an image is smaller."""
    if x.extent is not None:
        raise UserError(
            "config.eval.resize.crop: crops images of one size alone; predict them one by one"
        )
    offsets = crop_offset(x.size, crop)
    pads = [
        (-start, start + new - old, 0)
        for start, old, new in zip(offsets, x.size, crop, strict=True)
    ]
    pads = [(0, 0, 0), *pads, (0, 0, 0)]
    return FeatureMap(lax.pad(x.data, jnp.zeros((), x.data.dtype), pads))
