"""Where the tiles of a large image lie, and how what they say is blended: pure functions.

The weights of the tiles sum to one at each pixel. They are products of weights along each axis, and
each axis is divided by its own sum, so that rows of tiles can be finished one after another.

Tiles start at multiples of the model's stride, so that its grids lie as in the whole image. Where
they overlap by more than the receptive field, what lies within its reach of a cut edge gets no
weight (`margin`), and the rest is what the whole image gives. The edges of the image are no cuts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fcnjax.errors import UserError

# A Gaussian falls to this share of a tile's side; as Isensee et al. 2021 (nnU-Net) have it.
SIGMA = 1 / 8


@dataclass(frozen=True)
class Axis:
    """The tiles along one axis of an image.

    Attributes:
        size: Pixels of the image.
        tile: Pixels of a tile; the last may reach over the image's edge, by less than a stride.
        starts: The first pixel of each tile, from 0 on.
        overlap: Pixels that two tiles share; the last two may share more.
        margin: Pixels from a cut edge on that get no weight.
    """

    size: int
    tile: int
    starts: tuple[int, ...]
    overlap: int
    margin: int

    def span(self, index: int) -> tuple[int, int]:
        """The first pixel of a tile, and the one after its last, within the image."""
        start = self.starts[index]
        return start, min(start + self.tile, self.size)

    def done(self, index: int) -> int:
        """Up to which pixel nothing more comes, once this tile and those before it are there."""
        last = index == len(self.starts) - 1
        return self.size if last else self.starts[index + 1] + self.margin

    def first_for(self, pixel: int) -> int:
        """The first tile with a weight at this pixel or after it."""
        last = len(self.starts) - 1
        cuts = (self.span(index)[1] - self.margin for index in range(last))
        return next((index for index, cut in enumerate(cuts) if cut > pixel), last)


def plan_axis(size: int, tile: int, overlap: int, stride: int, margin: int = 0) -> Axis:
    """Tiles along an axis, as few as there can be.

    Args:
        size: Pixels of the image.
        tile: Pixels of a tile.
        overlap: Pixels that two tiles share, or somewhat more: tiles start at multiples of a
            stride.
        stride: That of the model's deepest feature.
        margin: At most half of the overlap.

    Raises:
        UserError: A tile is no larger than its overlap and a stride.
    """
    if size <= tile:
        return Axis(size, tile, (0,), 0, 0)
    step = (tile - overlap) // stride * stride
    if step < 1:
        raise UserError(
            f"--tile, --overlap: tiles of {tile} pixels do not overlap by {overlap}; with this "
            f"model, whose stride is {stride}, valid: an overlap to {max(tile - stride, 0)}"
        )
    # The last tile ends at the image's edge, or less than a stride after it.
    last = -(-(size - tile) // stride) * stride
    return Axis(size, tile, (*range(0, last, step), last), tile - step, margin)


def _linear(axis: Axis, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Rises from each cut edge on, over what of the overlap is blended."""
    ramp = max(axis.overlap - 2 * axis.margin, 1)
    return np.clip(np.minimum(before, after) - axis.margin + 0.5, 0, ramp)


def _gaussian(axis: Axis, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Falls off from the middle of the tile."""
    place = np.arange(len(before)) - (axis.tile - 1) / 2
    weight = np.exp(-0.5 * (place / (SIGMA * axis.tile)) ** 2)
    return np.where(np.minimum(before, after) >= axis.margin, weight, 0)


# `blend(axis, pixels to the cut edge before, and after) -> weights`, which are then divided by
# their sum over the tiles.
BLENDS: Mapping[str, Callable[[Axis, np.ndarray, np.ndarray], np.ndarray]] = MappingProxyType(
    {"gaussian": _gaussian, "linear": _linear}
)


def axis_weights(axis: Axis, blend: str) -> list[np.ndarray]:
    """The weights of each tile along an axis.

    Args:
        axis: The axis.
        blend: In `BLENDS`.

    Returns:
        For each tile float32, one for each pixel of its span; at each pixel of the image they sum
        to one.
    """
    raw, total = [], np.zeros(axis.size)
    for index in range(len(axis.starts)):
        start, stop = axis.span(index)
        place = np.arange(stop - start, dtype=np.float64)
        # The image's own edges are no cuts.
        before = place if index else np.full_like(place, np.inf)
        cut = index < len(axis.starts) - 1
        after = place[::-1] if cut else np.full_like(place, np.inf)
        raw.append(BLENDS[blend](axis, before, after))
        total[start:stop] += raw[-1]
    spans = [slice(*axis.span(index)) for index in range(len(raw))]
    return [(part / total[span]).astype(np.float32) for part, span in zip(raw, spans, strict=True)]


class Rows(NamedTuple):
    """Rows of an image that are done.

    Attributes:
        top: The first.
        probabilities: Float32 `[rows, W, classes]`, the mean of the tiles'.
        spread: Float32 `[rows, W]`, as `disagreement` has it.
        valid: Bool `[rows, W]`, where the image has data.
    """

    top: int
    probabilities: np.ndarray
    spread: np.ndarray
    valid: np.ndarray


class RowBlend:
    """What the tiles say of an image, blended as they come, row of tiles by row of tiles.

    It holds the rows from `top` on, as many as a tile and a block have.

    Args:
        rows: The tiles along the height.
        columns: The tiles along the width.
        classes: How many there are.
        blend: In `BLENDS`.
        block: Rows are taken in multiples of this.
        top: The first row to hold; what tiles say of those before it is left out.
    """

    def __init__(
        self, rows: Axis, columns: Axis, classes: int, blend: str, block: int, top: int = 0
    ):
        self.top = top
        self._rows, self._columns, self._block = rows, columns, block
        self._weights = [axis_weights(axis, blend) for axis in (rows, columns)]
        height = min(rows.size, rows.tile + block)
        self._mean = np.zeros((height, columns.size, classes), np.float32)
        self._square = np.zeros((height, columns.size), np.float32)
        self._valid = np.zeros((height, columns.size), bool)

    def add(
        self, row: int, column: int, valid: np.ndarray, probabilities: np.ndarray | None
    ) -> None:
        """Adds a tile.

        Args:
            row: Its place along the height.
            column: Its place along the width.
            valid: Bool `[h, w]`, where the image has data.
            probabilities: Float32 `[h, w, classes]`; None where it has none.
        """
        (start, stop), (left, right) = self._rows.span(row), self._columns.span(column)
        cut = max(self.top - start, 0)
        part = slice(start + cut - self.top, stop - self.top), slice(left, right)
        self._valid[part] |= valid[cut:]
        if probabilities is None:
            return
        weight = self._weights[0][row][cut:, None] * self._weights[1][column]
        probabilities = probabilities[cut:]
        weighted = probabilities * weight[..., None]
        self._mean[part] += weighted
        weighted *= probabilities
        self._square[part] += weighted.sum(-1)

    def take(self, row: int) -> Iterator[Rows]:
        """Takes the rows that are done once this row of tiles is there, whole blocks of them.

        Yields:
            A block; its arrays are good until the next is asked for.
        """
        done = self._rows.done(row)
        if done < self._rows.size:
            done = done // self._block * self._block
        count = max(done - self.top, 0)
        for first in range(0, count, self._block):
            part = slice(first, min(first + self._block, count))
            mean = self._mean[part]
            spread = disagreement(mean, self._square[part])
            yield Rows(self.top + first, mean, spread, self._valid[part])
        for held in (self._mean, self._square, self._valid) if count else ():
            rest = len(held) - count
            # Upwards in small steps, so that no second array of this size is made.
            for first in range(0, rest, count):
                end = min(first + count, rest)
                held[first:end] = held[first + count : end + count]
            held[rest:] = 0
        self.top += count


def disagreement(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """How much tiles disagree, float32 `[...]` in 0..1.

    The standard deviation of their probabilities about the mean, by the weights that they are
    blended with, over all classes: 0 where all say the same or there is one; 1 where two of equal
    weight are sure of different classes.

    Args:
        mean: `[..., classes]`, the weighted mean of the probabilities.
        square: `[...]`, the weighted mean of the sum of their squares.
    """
    variance = square - (mean * mean).sum(-1)
    return np.sqrt(np.clip(2 * variance, 0, 1))
