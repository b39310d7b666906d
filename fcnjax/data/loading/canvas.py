"""The sizes of arrays that images lie in: of training's crops, and of buckets."""

import math

import numpy as np
from ml_collections import ConfigDict


def canvas_size(augment: ConfigDict) -> tuple[int, int]:
    """Height and width that hold a centred crop however it is turned, scaled and bent.

    Each differs from the crop's by an even number, so that the centre is the same. The maps are
    those of `fcnjax.augment.geometry`.
    """
    height, width = augment.crop
    turn = math.radians(min(augment.rotation, 90.0))
    bent = any(augment[key] for key in ("aspect", "shear", "perspective", "elastic"))
    if augment.scale == (1.0, 1.0) and not turn and not bent:
        return height, width

    def reach(along: float, across: float) -> float:
        # |along cos t| + |across sin t| is greatest at tan t = across / along.
        t = min(turn, math.atan2(across, along))
        return (along * math.cos(t) + across * math.sin(t)) / augment.scale[0] + 2

    # A corner goes outwards by perspective, then by the elastic displacement.
    tall, wide = (s / (1 - augment.perspective) + 2 * augment.elastic for s in augment.crop)
    slant, stretch = math.tan(math.radians(augment.shear)), 2 ** (augment.aspect / 2)
    # It goes farthest where slant and stretch are greatest: each is of the one side or the other.
    boxes = [
        (y * ratio, x / ratio)
        for y, x in ((tall + slant * wide, wide), (tall, wide + slant * tall))
        for ratio in (stretch, 1 / stretch)
    ]
    needs = max(reach(y, x) for y, x in boxes), max(reach(x, y) for y, x in boxes)
    return tuple(
        side + 2 * max(math.ceil((need - side) / 2), 0)
        for side, need in zip((height, width), needs, strict=True)
    )


def pad_to(image: np.ndarray, canvas: tuple[int, int], fill: int | float) -> np.ndarray:
    """Extends `[H, W, ...]` downwards and to the right to the canvas's height and width."""
    image = np.asarray(image)
    if image.shape[:2] == tuple(canvas):
        return image
    padded = np.full((*canvas, *image.shape[2:]), fill, image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded


def bucket_canvas(size: tuple[int, int], bucket: int) -> tuple[int, int]:
    """The canvas that an image of this height and width is padded to: few, so few compilations.

    Each side is rounded up to a multiple of `bucket`, or of twice that above 8 of them, of four
    times above 16, and so on: 8 sizes and 4 more for each doubling, at most a quarter too long.
    """
    return tuple(_bucket_side(side, bucket) for side in size)


def _bucket_side(side: int, step: int) -> int:
    while side > 8 * step:
        step *= 2
    return -(-side // step) * step
