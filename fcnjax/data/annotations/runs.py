"""Pixels of an annotated region as runs down the columns of an image, as COCO stores them.

A region of a large image takes memory for its border only, and is painted in time proportional to
its own pixels.
"""

from typing import NamedTuple

import numpy as np

from fcnjax.data.readers.stored_pixels import Size


class Runs(NamedTuple):
    """Pixels of an image, numbered down its columns; runs ascend and do not overlap.

    Attributes:
        starts: The first pixel of each run, int64 `[N]`.
        ends: The pixel after the last of each run, int64 `[N]`.
        steps: Number of steps that it took to compute them, a measure of time.
    """

    starts: np.ndarray
    ends: np.ndarray
    steps: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int((self.ends - self.starts).sum())

    def paint(self, pixels: np.ndarray, value: int) -> None:
        """Set the pixels in an image `[W * H]`, column after column."""
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            pixels[start:end] = value


def from_changes(changes: np.ndarray, length: int, steps: int) -> Runs:
    """Make runs from the pixels at which an image changes between outside and inside.

    Args:
        changes: Int64 `[N]`, of any order and number; before the first change is outside.
        length: Pixels of the image.
        steps: As in `Runs`.
    """
    changes = np.sort(changes)
    if len(changes) % 2:
        changes = np.append(changes, length)
    starts, ends = changes[::2], changes[1::2]
    nonempty = ends > starts
    return Runs(starts[nonempty], ends[nonempty], steps)


def from_lengths(lengths: np.ndarray) -> Runs:
    """Make runs from lengths that alternate between outside and inside, as COCO stores them."""
    changes = np.cumsum(lengths, dtype=np.int64)
    length = int(changes[-1]) if len(changes) else 0
    return from_changes(changes[: len(changes) // 2 * 2], length, 0)


def from_mask(mask: np.ndarray, left: int, top: int, size: Size) -> Runs:
    """Make runs from a mask `[h, w]` bool with its corner at `left`, `top`, clipped to the image.

    Args:
        mask: The mask.
        left: Column of the corner; may be negative.
        top: Row of the corner; may be negative.
        size: Height and width of the image.
    """
    mask = mask[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    if not mask.size:  # the corner may be any number
        return Runs(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    left, top = max(left, 0), max(top, 0)
    height, width = mask.shape
    # A row of False below each column ends its runs.
    columns = np.zeros((width, height + 1), bool)
    columns[:, :height] = mask.T
    flat = columns.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    column, row = np.divmod(changes, height + 1)
    return from_changes((left + column) * size[0] + top + row, size[0] * size[1], mask.size)


def union(regions: list[Runs]) -> Runs:
    """Return the pixels that are in any of the regions."""
    if len(regions) == 1:
        return regions[0]
    starts = np.concatenate([region.starts for region in regions])
    ends = np.concatenate([region.ends for region in regions])
    steps = sum(region.steps for region in regions)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    first = np.ones(len(starts), bool)
    first[1:] = starts[1:] > ends[:-1]
    last = np.roll(first, -1)
    return Runs(starts[first], ends[last], steps)
