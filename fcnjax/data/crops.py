"""Crops about pixels of certain classes, so that rare ones are seen."""

import numpy as np
from ml_collections import ConfigDict

ANYWHERE = np.iinfo(np.int32).min  # a corner of a crop that is not sought


def seeks(config: ConfigDict) -> bool:
    """Whether some crops are to lie about pixels of certain classes."""
    return bool(config.data.class_crop or config.data.foreground_crop)


def sought_corner(label: np.ndarray, config: ConfigDict, k: int) -> tuple[int, int] | None:
    """The corner of a crop about a pixel that is sought, or None where it may lie anywhere.

    With the probability `class_crop` it is a pixel of a class drawn evenly from those in the label;
    with `foreground_crop`, any that is not of class 0. It may be anywhere in the crop.

    Args:
        label: `[H, W]`.
        config: The whole config.
        k: The example's place in the run.
    """
    if not seeks(config):
        return None
    data, rng = config.data, np.random.default_rng((config.train.seed, k, 2))
    draw = rng.random()
    if draw >= data.class_crop + data.foreground_crop:
        return None
    label = np.asarray(label)
    counted = label != data.ignore_label
    if draw < data.class_crop:
        classes = np.unique(label[counted])
        places = np.flatnonzero(label == rng.choice(classes)) if len(classes) else []
    else:
        places = np.flatnonzero(counted & (label != 0))
    if not len(places):
        return None
    place = np.unravel_index(rng.choice(places), label.shape)
    crop = config.augment.crop
    return tuple(int(at) - int(rng.integers(side)) for at, side in zip(place, crop, strict=True))
