"""Canvases: their sizes, positions of random crops, and padding to them."""

import math

import numpy as np
from ml_collections import ConfigDict


def needs_interpolation(augment: ConfigDict) -> bool:
    """Return whether sample positions may lie between pixels; flips and crops stay on the grid."""
    keys = ("rotation", "aspect", "shear", "perspective", "elastic")
    return tuple(augment.scale) != (1.0, 1.0) or any(augment[key] for key in keys)


def canvas_size(augment: ConfigDict) -> tuple[int, int]:
    """Return the height and width of the region that geometric augmentation of a crop may read.

    Each differs from the crop's by an even number, so that both have the same centre. The
    transforms are those of `fcnjax.augment.geometry`.
    """
    height, width = augment.crop
    if not needs_interpolation(augment):
        return height, width
    angle = math.radians(min(augment.rotation, 90.0))

    def rotated_extent(along: float, across: float) -> float:
        # |along cos t| + |across sin t| has its maximum at tan t = across / along.
        t = min(angle, math.atan2(across, along))
        return (along * math.cos(t) + across * math.sin(t)) / augment.scale[0] + 2

    # Perspective moves a corner outwards first, then the elastic displacement.
    tall, wide = (s / (1 - augment.perspective) + 2 * augment.elastic for s in augment.crop)
    slope, stretch = math.tan(math.radians(augment.shear)), 2 ** (augment.aspect / 2)
    # The extremes: shear along either axis, and the largest stretch of either axis.
    boxes = [
        (y * ratio, x / ratio)
        for y, x in ((tall + slope * wide, wide), (tall, wide + slope * tall))
        for ratio in (stretch, 1 / stretch)
    ]
    tallest = max(rotated_extent(y, x) for y, x in boxes)
    widest = max(rotated_extent(x, y) for y, x in boxes)
    return tuple(
        side + 2 * max(math.ceil((extent - side) / 2), 0)
        for side, extent in ((height, tallest), (width, widest))
    )


def pad_to(image: np.ndarray, canvas: tuple[int, int], fill: int | float) -> np.ndarray:
    """Pad `[H, W, ...]` at the bottom and the right to the height and width of a canvas."""
    image = np.asarray(image)
    if image.shape[:2] == tuple(canvas):
        return image
    padded = np.full((*canvas, *image.shape[2:]), fill, image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded


def bucket_canvas(size: tuple[int, int], bucket: int) -> tuple[int, int]:
    """Return the height and width to which an image is padded, which limit the compilations.

    Each side is rounded up to a multiple of `bucket`, above 8 buckets to a multiple of twice
    `bucket`, above 16 of four times, and so on. This gives 8 sizes and 4 more for each doubling,
    with at most a quarter of padding.
    """
    return tuple(_bucket_side(side, bucket) for side in size)


def _bucket_side(side: int, step: int) -> int:
    while side > 8 * step:
        step *= 2
    return -(-side // step) * step


def crop_canvas(label: np.ndarray, config: ConfigDict, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the position of an example's canvas in its image; the crop lies at its centre.

    The canvas (`canvas_size`) contains all pixels that augmentation may read. If the image is
    smaller than the crop, the crop is centred on it.

    Args:
        label: `[H, W]`.
        config: The full config.
        k: Position of the example in the run.

    Returns:
        The upper left corner of the canvas in the image, int32 `[2]`, negative if the canvas starts
        outside the image; and the bounds of the image in the canvas, int32 `[4]`: first row and
        column, and the row and column after the last.
    """
    rng = np.random.default_rng((config.train.seed, k))
    class_crop, canvas = sample_class_crop(label, config, k), canvas_size(config.augment)
    corner = np.empty(2, np.int32)
    for axis, crop in enumerate(config.augment.crop):
        room = label.shape[axis] - crop
        start = int(rng.integers(room + 1)) if room >= 0 else room // 2
        if class_crop is not None and room > 0:
            start = min(max(class_crop[axis], 0), room)
        corner[axis] = start - (canvas[axis] - crop) // 2
    first, end = np.maximum(-corner, 0), np.minimum(label.shape - corner, canvas)
    return corner, np.concatenate([first, end]).astype(np.int32)


def sample_class_crop(label: np.ndarray, config: ConfigDict, k: int) -> tuple[int, int] | None:
    """Draw the corner of a crop that contains a pixel of a drawn class; None for a uniform crop.

    With probability `class_crop` the pixel is of a class drawn uniformly from those in the label.
    With probability `foreground_crop` it is any pixel not of class 0. Its position in the crop is
    uniform.
    """
    data = config.data
    if not (data.sampling.class_crop or data.sampling.foreground_crop):
        return None
    rng = np.random.default_rng((config.train.seed, k, 2))
    draw = rng.random()
    if draw >= data.sampling.class_crop + data.sampling.foreground_crop:
        return None
    label = np.asarray(label)
    valid = label != data.ignore_label
    if draw < data.sampling.class_crop:
        classes = np.unique(label[valid])
        pixels = np.flatnonzero(label == rng.choice(classes)) if len(classes) else []
    else:
        pixels = np.flatnonzero(valid & (label != 0))
    if not len(pixels):
        return None
    pixel = np.unravel_index(rng.choice(pixels), label.shape)
    crop = config.augment.crop
    return tuple(int(at) - int(rng.integers(side)) for at, side in zip(pixel, crop, strict=True))
