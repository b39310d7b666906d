"""Tiles along an axis, and blending of their probabilities.

The weights of the tiles sum to one at each pixel. They are products of weights along each axis,
each normalised by its own sum, so that rows of tiles can be finished one after another.

Tiles start at multiples of the model's stride, so that its grid is that of the whole image. If
tiles overlap by more than the receptive field, pixels whose receptive field crosses a cut edge get
no weight (`margin`), and the others are as in the whole image. Edges of the image are no cuts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fcnjax.errors import UserError

# Standard deviation of the Gaussian, as a share of the tile's side (Isensee et al. 2021, nnU-Net).
SIGMA = 1 / 8


@dataclass(frozen=True)
class Axis:
    """The tiles along one axis of an image.

    Attributes:
        size: Size of the image.
        tile: Size of a tile. The last may exceed the image by less than a stride.
        starts: First pixel of each tile, beginning with 0.
        overlap: Overlap of two tiles. The last two may overlap by more.
        margin: Pixels at a cut edge without weight.
    """

    size: int
    tile: int
    starts: tuple[int, ...]
    overlap: int
    margin: int

    def span(self, index: int) -> tuple[int, int]:
        """Return the first pixel of a tile and the one after its last, inside the image."""
        start = self.starts[index]
        return start, min(start + self.tile, self.size)

    def finished(self, index: int) -> int:
        """Return the number of pixels that later tiles do not change."""
        last = index == len(self.starts) - 1
        return self.size if last else self.starts[index + 1] + self.margin

    def first_tile(self, pixel: int) -> int:
        """Return the first tile with a weight at this pixel or after it."""
        last = len(self.starts) - 1
        ends = (self.span(index)[1] - self.margin for index in range(last))
        return next((index for index, end in enumerate(ends) if end > pixel), last)


def plan_axis(size: int, tile: int, overlap: int, stride: int, margin: int = 0) -> Axis:
    """Return the tiles along an axis, as few as possible.

    Args:
        size: Size of the image.
        tile: Size of a tile.
        overlap: Least overlap of two tiles. It grows so that tiles start at multiples of `stride`.
        stride: Stride of the model's deepest feature map.
        margin: Pixels at a cut edge without weight, at most half of the overlap.

    Raises:
        UserError: A tile is too small for the overlap and a stride.
    """
    if size <= tile:
        return Axis(size, tile, (0,), 0, 0)
    step = (tile - overlap) // stride * stride
    if step < 1:
        raise UserError(
            f"--tile, --overlap: tiles of {tile} pixels do not overlap by {overlap}; with this "
            f"model, whose stride is {stride}, valid: an overlap to {max(tile - stride, 0)}"
        )
    # The last tile ends at the edge of the image, or less than a stride after it.
    last = -(-(size - tile) // stride) * stride
    return Axis(size, tile, (*range(0, last, step), last), tile - step, margin)


def _linear(axis: Axis, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return weights that rise linearly from each cut edge over the blended overlap."""
    ramp = max(axis.overlap - 2 * axis.margin, 1)
    return np.clip(np.minimum(before, after) - axis.margin + 0.5, 0, ramp)


def _gaussian(axis: Axis, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return weights that fall off from the centre of the tile."""
    position = np.arange(len(before)) - (axis.tile - 1) / 2
    weight = np.exp(-0.5 * (position / (SIGMA * axis.tile)) ** 2)
    return np.where(np.minimum(before, after) >= axis.margin, weight, 0)


# `blend(axis, before, after)` returns weights of the pixels at these distances from the cut edges.
# They are then divided by their sum over the tiles.
BLENDS: Mapping[str, Callable[[Axis, np.ndarray, np.ndarray], np.ndarray]] = MappingProxyType(
    {"gaussian": _gaussian, "linear": _linear}
)


def axis_weights(axis: Axis, blend: str) -> list[np.ndarray]:
    """Return the weights of each tile along an axis.

    Args:
        axis: The axis.
        blend: Key of `BLENDS`.

    Returns:
        For each tile float32 weights of the pixels in its span, which sum to one over the tiles.
    """
    raw, total = [], np.zeros(axis.size)
    for index in range(len(axis.starts)):
        start, stop = axis.span(index)
        position = np.arange(stop - start, dtype=np.float64)
        # The edges of the image are no cuts.
        no_cut = np.full_like(position, np.inf)
        before = position if index else no_cut
        after = position[::-1] if index < len(axis.starts) - 1 else no_cut
        raw.append(BLENDS[blend](axis, before, after))
        total[start:stop] += raw[-1]
    spans = [slice(*axis.span(index)) for index in range(len(raw))]
    return [(part / total[span]).astype(np.float32) for part, span in zip(raw, spans, strict=True)]


class BlendedRows(NamedTuple):
    """Finished rows of an image.

    Attributes:
        top: Number of the first row.
        probabilities: float32 `[rows, W, classes]`, weighted mean over the tiles.
        disagreement: float32 `[rows, W]`, as `disagreement` returns it.
        valid: bool `[rows, W]`, where the image has data.
    """

    top: int
    probabilities: np.ndarray
    disagreement: np.ndarray
    valid: np.ndarray


class RowBlender:
    """Blends tiles as they arrive, one row of tiles after another.

    It buffers the rows from `top` on, as many as a tile and a block have.

    Args:
        rows: Tiles along the height.
        columns: Tiles along the width.
        classes: Number of classes.
        blend: Key of `BLENDS`.
        block: Rows are finished in multiples of this.
        top: First row to buffer. Earlier rows of the tiles are ignored.
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
        """Add a tile.

        Args:
            row: Index of the tile along the height.
            column: Index of the tile along the width.
            valid: bool `[h, w]`, where the image has data.
            probabilities: float32 `[h, w, classes]`, or None if the tile has no data.
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

    def pop_finished(self, row: int) -> Iterator[BlendedRows]:
        """Remove and yield the blocks that are finished once this row of tiles is complete.

        Yields:
            A block, whose arrays are valid until the next is requested.
        """
        done = self._rows.finished(row)
        if done < self._rows.size:
            done = done // self._block * self._block
        count = max(done - self.top, 0)
        for first in range(0, count, self._block):
            part = slice(first, min(first + self._block, count))
            mean = self._mean[part]
            spread = disagreement(mean, self._square[part])
            yield BlendedRows(self.top + first, mean, spread, self._valid[part])
        for buffer in (self._mean, self._square, self._valid) if count else ():
            rest = len(buffer) - count
            # Shifted in small steps, which need no second array of this size.
            for first in range(0, rest, count):
                end = min(first + count, rest)
                buffer[first:end] = buffer[first + count : end + count]
            buffer[rest:] = 0
        self.top += count


def disagreement(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return the disagreement of tiles, float32 `[...]` in 0..1.

    The weighted standard deviation of the tiles' probabilities over all classes: 0 if they agree or
    there is one tile, 1 if two of equal weight are certain of different classes.

    Args:
        mean: `[..., classes]`, weighted mean of the probabilities.
        square: `[...]`, weighted mean of the sum of their squares.
    """
    variance = square - (mean * mean).sum(-1)
    return np.sqrt(np.clip(2 * variance, 0, 1))
