"""Small regions and holes of a mask, given to what surrounds them."""

import numpy as np
from scipy import ndimage

# Two pixels that touch at a corner are of one region, and so are all around one.
TOUCHING = np.ones((3, 3), bool)


def without_small_regions(mask: np.ndarray, smallest: int) -> np.ndarray:
    """The mask `[H, W]` without regions of one class of fewer than `smallest` pixels.

    Each is given the class that most of the pixels around it have, the smallest first.
    """
    mask = mask.copy()
    joined = True
    while joined:
        joined = False
        for window, region in _small_regions(mask, smallest):
            here = mask[window]
            around = here[ndimage.binary_dilation(region, TOUCHING) & ~region]
            # One that another has just been joined to has grown, and is looked at again.
            if len(around) and not (around == here[region][0]).any():
                here[region] = np.bincount(around).argmax()
                joined = True
    return mask


def without_holes(mask: np.ndarray, largest: int, background: int = 0) -> np.ndarray:
    """The mask `[H, W]` without holes: regions of the background within a single other class.

    Args:
        mask: Class ids.
        largest: Of how many pixels a hole may be; a larger one stays.
        background: The class that holes have.
    """
    mask = mask.copy()
    # A hole is closed where its neighbours meet at corners.
    labels, _ = ndimage.label(mask == background)
    for index, window in enumerate(ndimage.find_objects(labels), start=1):
        inner = _grown(window, mask.shape)
        region = labels[inner] == index
        if region.sum() > largest or _touches_edge(window, mask.shape):
            continue
        around = np.unique(mask[inner][ndimage.binary_dilation(region) & ~region])
        if len(around) == 1:
            mask[inner][region] = around[0]
    return mask


def _small_regions(mask: np.ndarray, smallest: int) -> list[tuple[tuple[slice, ...], np.ndarray]]:
    """The small regions by size: a window with a pixel around each, and where in it that is."""
    found = []
    for value in np.unique(mask):
        labels, _ = ndimage.label(mask == value, TOUCHING)
        windows = ndimage.find_objects(labels)
        for index, size in enumerate(np.bincount(labels.ravel())[1:], start=1):
            if size < smallest:
                window = _grown(windows[index - 1], mask.shape)
                found.append((size, window, labels[window] == index))
    return [(window, region) for _, window, region in sorted(found, key=lambda each: each[0])]


def _grown(window: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, length))
        for side, length in zip(window, shape, strict=True)
    )


def _touches_edge(window: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(
        side.start == 0 or side.stop == length for side, length in zip(window, shape, strict=True)
    )
