"""Places of random crops: anywhere in the image, or about pixels of certain classes."""

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import canvas_size


def crop_canvas(label: np.ndarray, config: ConfigDict, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws where the canvas of an example lies in its image, with the crop at its centre.

    The canvas (`canvas_size`) is what augmentation may read from. An image smaller than the crop
    has the crop about its centre.

    Args:
        label: `[H, W]`.
        config: The whole config.
        k: The example's place in the run.

    Returns:
        The canvas's upper left corner in the image, int32 `[2]`, negative where the canvas begins
        before the image; and the bounds of the image in the canvas, int32 `[4]`: the first row and
        column, and those after the last.
    """
    rng = np.random.default_rng((config.train.seed, k))
    wanted, canvas = _class_corner(label, config, k), canvas_size(config.augment)
    corner = np.empty(2, np.int32)
    for axis, crop in enumerate(config.augment.crop):
        room = label.shape[axis] - crop
        start = int(rng.integers(room + 1)) if room >= 0 else room // 2
        if wanted is not None and room > 0:
            start = min(max(wanted[axis], 0), room)
        corner[axis] = start - (canvas[axis] - crop) // 2
    first, end = np.maximum(-corner, 0), np.minimum(label.shape - corner, canvas)
    return corner, np.concatenate([first, end]).astype(np.int32)


def _class_corner(label: np.ndarray, config: ConfigDict, k: int) -> tuple[int, int] | None:
    """The corner of a crop about a pixel of a drawn class, or None for a crop anywhere.

    With the probability `class_crop` it is a pixel of a class drawn evenly from those in the label;
    with `foreground_crop`, any that is not of class 0. It may be anywhere in the crop.
    """
    data = config.data
    if not (data.sampling.class_crop or data.sampling.foreground_crop):
        return None
    rng = np.random.default_rng((config.train.seed, k, 2))
    draw = rng.random()
    if draw >= data.sampling.class_crop + data.sampling.foreground_crop:
        return None
    label = np.asarray(label)
    counted = label != data.ignore_label
    if draw < data.sampling.class_crop:
        classes = np.unique(label[counted])
        places = np.flatnonzero(label == rng.choice(classes)) if len(classes) else []
    else:
        places = np.flatnonzero(counted & (label != 0))
    if not len(places):
        return None
    place = np.unravel_index(rng.choice(places), label.shape)
    crop = config.augment.crop
    return tuple(int(at) - int(rng.integers(side)) for at, side in zip(place, crop, strict=True))
