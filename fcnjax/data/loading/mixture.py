"""Training on several sources, drawn by weight."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from fcnjax.data.source import ConcatenatedSource, Source
from fcnjax.errors import UserError

PERIOD = 1000  # draws after which the pattern of sources repeats; weights are kept to 1 / PERIOD


class Mixture(ConcatenatedSource):
    """The examples of several sources, drawn by weight.

    Args:
        sources: Sources of the same classes.
        weights: How often each source is drawn, relative to the others.

    Raises:
        UserError: A weight is not above 0.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float]):
        if not all(0 < weight < float("inf") for weight in weights):
            raise UserError(
                f"config.data.sampling.mix: the weights {tuple(weights)} are not all above 0"
            )
        super().__init__(sources)
        self._pattern = draw_pattern(tuple(map(float, weights)))

    def row(self, k: int, shuffled: Callable[[int, int, int], int]) -> int:
        """Return the example at position k of a run; its source is drawn by weight.

        Args:
            k: The position, from 0.
            shuffled: `shuffled(source, k, length)` returns the k-th row drawn from a source.
        """
        numbers, earlier_draws = self._pattern
        period, position = divmod(k, PERIOD)
        source = int(numbers[position])
        draws = period * int((numbers == source).sum()) + int(earlier_draws[position])
        return int(self._starts[source]) + shuffled(source, draws, len(self._sources[source]))


@functools.lru_cache(maxsize=8)
def draw_pattern(weights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the source of each of `PERIOD` draws, and how often it was drawn before."""
    shares = np.asarray(weights) / sum(weights)
    counts = np.zeros(len(weights), int)
    numbers, earlier_draws = np.empty(PERIOD, int), np.empty(PERIOD, int)
    for position in range(PERIOD):
        # The source that is furthest behind its share.
        source = int(np.argmax(shares * (position + 1) - counts))
        numbers[position], earlier_draws[position] = source, counts[source]
        counts[source] += 1
    return numbers, earlier_draws
