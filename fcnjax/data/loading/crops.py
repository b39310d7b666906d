"""Positions of random crops: uniform in the image, or around pixels of certain classes."""

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import canvas_size


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
