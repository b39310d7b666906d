"""Removal of small regions and holes from a mask."""

import numpy as np
import scipy  # which imports `scipy.ndimage` on first use: that takes long

# 8-connectivity: pixels that touch at a corner belong to one region.
CONNECTIVITY = np.ones((3, 3), bool)


def remove_small_regions(mask: np.ndarray, min_size: int) -> np.ndarray:
    """Return the mask `[H, W]` without regions of one class of fewer than `min_size` pixels.

    Each region, smallest first, gets the most frequent class of the pixels around it.
    """
    mask = mask.copy()
    changed = True
    while changed:
        changed = False
        for window, region in _small_regions(mask, min_size):
            part = mask[window]
            around = part[scipy.ndimage.binary_dilation(region, CONNECTIVITY) & ~region]
            # A region that has just grown by another is measured again in the next pass.
            if len(around) and not (around == part[region][0]).any():
                part[region] = np.bincount(around).argmax()
                changed = True
    return mask


def fill_holes(mask: np.ndarray, max_size: int, background: int = 0) -> np.ndarray:
    """Return the mask `[H, W]` with holes filled.

    A hole is a region of the background inside a single other class.

    Args:
        mask: Class ids.
        max_size: Largest hole to fill, in pixels.
        background: Class id of the background.
    """
    mask = mask.copy()
    # 4-connectivity, so that pixels that meet at a corner close a hole.
    labels, _ = scipy.ndimage.label(mask == background)
    for index, window in enumerate(scipy.ndimage.find_objects(labels), start=1):
        padded = _pad_window(window, mask.shape)
        region = labels[padded] == index
        if region.sum() > max_size or _touches_edge(window, mask.shape):
            continue
        around = np.unique(mask[padded][scipy.ndimage.binary_dilation(region) & ~region])
        if len(around) == 1:
            mask[padded][region] = around[0]
    return mask


def _small_regions(mask: np.ndarray, min_size: int) -> list[tuple[tuple[slice, ...], np.ndarray]]:
    """Return a padded window and the region in it for each small region, smallest first."""
    regions = []
    for value in np.unique(mask):
        labels, _ = scipy.ndimage.label(mask == value, CONNECTIVITY)
        windows = scipy.ndimage.find_objects(labels)
        for index, size in enumerate(np.bincount(labels.ravel())[1:], start=1):
            if size < min_size:
                window = _pad_window(windows[index - 1], mask.shape)
                regions.append((size, window, labels[window] == index))
    return [(window, region) for _, window, region in sorted(regions, key=lambda each: each[0])]


def _pad_window(window: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, length))
        for side, length in zip(window, shape, strict=True)
    )


def _touches_edge(window: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(
        side.start == 0 or side.stop == length for side, length in zip(window, shape, strict=True)
    )
