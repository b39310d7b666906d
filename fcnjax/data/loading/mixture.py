"""Several sources as one, drawn from by weight."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fcnjax.data.source import Source
from fcnjax.errors import UserError

PERIOD = 1000  # draws after which the pattern of sources repeats; weights are kept to 1 / PERIOD


class Mixture:
    """Several sources as one: the examples of the first, then those of the second, ...

    Args:
        sources: Of the same classes.
        weights: How often each is drawn from, relative to each other.

    Raises:
        UserError: Weights that are not above 0.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float]):
        if not all(0 < weight < float("inf") for weight in weights):
            raise UserError(
                f"config.data.sampling.mix: the weights {tuple(weights)} are not all above 0"
            )
        self.class_names = sources[0].class_names
        self._sources = list(sources)
        self._lengths = [len(source) for source in sources]
        self._starts = np.cumsum([0, *self._lengths])
        self._pattern = pattern(weights)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _place(self, index: int) -> tuple[Source, int]:
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._sources[which], index - int(self._starts[which])

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example."""
        source, row = self._place(index)
        return source.size(row)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, row = self._place(index)
        return source[row]

    def row(self, k: int, shuffled: Callable[[int, int, int], int]) -> int:
        """The example at position k of a run: which source, by weight, and which of its own.

        Args:
            k: The position, from 0 on.
            shuffled: `shuffled(source, k, length)`: what place k of a source's own run has.
        """
        which, before = self._pattern
        period, place = divmod(k, len(which))
        source = int(which[place])
        own = period * int((which == source).sum()) + int(before[place])
        return int(self._starts[source]) + shuffled(source, own, self._lengths[source])


@functools.lru_cache(maxsize=8)
def _pattern(weights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    shares = np.asarray(weights) / sum(weights)
    counts = np.zeros(len(weights), int)
    which, before = np.empty(PERIOD, int), np.empty(PERIOD, int)
    for place in range(PERIOD):
        # The source that is furthest behind its share.
        source = int(np.argmax(shares * (place + 1) - counts))
        which[place], before[place] = source, counts[source]
        counts[source] += 1
    return which, before


def pattern(weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Which source each of `PERIOD` draws takes, and how often it was taken in them before."""
    return _pattern(tuple(map(float, weights)))
