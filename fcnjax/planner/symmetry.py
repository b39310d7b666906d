"""Tests of whether images have an orientation, from where their classes and bright parts lie."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

SIDE = 12  # of the maps
MAX_CLASSES = 32  # that the maps distinguish; later ones have no map
DRAWS = 999
MIN_IMAGES = 8  # of fewer, a test says nothing

# Maps `[N, S, S, K]` after a change of orientation.
MOVES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "columns": lambda maps: maps[:, :, ::-1],
    "rows": lambda maps: maps[:, ::-1],
    "axes": lambda maps: maps.swapaxes(1, 2),
}


def layout_map(image: np.ndarray, ids: np.ndarray, num_classes: int) -> np.ndarray:
    """Return where the classes lie in an image, and how bright it is there.

    Args:
        image: `[H, W, C]`.
        ids: Class ids `[H, W]`, int32; other pixels are `num_classes`.
        num_classes: Number of classes.

    Returns:
        Float32 `[SIDE, SIDE, min(num_classes, MAX_CLASSES) + 1]`: the share of each class in each
        cell, then the brightness in standard deviations of the image.
    """
    grey = image.astype(np.float32).mean(-1)
    grey = (grey - grey.mean()) / max(float(grey.std()), 1e-6)
    planes = [(ids == label).astype(np.float32) for label in range(min(num_classes, MAX_CLASSES))]
    size = (SIDE, SIDE)
    return np.stack(
        [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (*planes, grey)], -1
    )


def asymmetry(layouts: np.ndarray, move: str) -> float:
    """Test whether images look alike after a change of orientation, on average.

    If an orientation has no meaning, the difference between an image's map and the moved map is as
    likely as its negative. The mean difference is compared with those of random signs, separately
    for each class (Westfall and Young's correction by the largest one).

    Args:
        layouts: `[N, SIDE, SIDE, K]`, from `layout_map`.
        move: A key of `MOVES`.

    Returns:
        The p-value, in 0..1; 1 for fewer than `MIN_IMAGES` images.
    """
    count, _, _, classes = layouts.shape
    if count < MIN_IMAGES:
        return 1.0
    differences = (layouts - MOVES[move](layouts)).reshape(count, -1, classes)
    scale = np.sqrt((differences**2).sum((0, 1)))
    differences = differences[..., scale > 0] / scale[scale > 0]
    if not differences.size:
        return 1.0
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (DRAWS, count))
    signs = np.concatenate([np.ones((1, count)), signs])
    sums = np.einsum("dn,npk->dpk", signs, differences, optimize=True)
    statistics = (sums**2).sum(1).max(1)
    return float((statistics >= statistics[0] * (1 - 1e-9)).mean())
