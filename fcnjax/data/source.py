"""The interface of sources of labelled images, and sources made of others."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from fcnjax.data.splits.example import Example
from fcnjax.errors import UserError

PERIOD = 1000  # draws after which the pattern of sources repeats; weights are kept to 1 / PERIOD


class Source(Protocol):
    """Images with labels, read one at a time by index. Picklable, since workers get a copy.

    Attributes:
        class_names: The classes, by id.
    """

    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of examples."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read an example.

        Returns:
            `image` `[H, W, C]` uint8, uint16 or float32, `label` `[H, W]` class ids (uint8, or
            int32 for more than 255 classes, with ignored pixels as `config.data.ignore_label`) and
            `name`. Image and label are arrays, or objects with `shape`, `dtype`, slicing
            `[a:b, c:d]` and conversion by `np.asarray` (`fcnjax.data.loading.tiles`).

        Raises:
            UserError: A file cannot be read or does not fit; names it.
        """

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example without decoding it."""


class StoredSource(Source, Protocol):
    """Examples in files, as a `Layout` opens them."""

    def stamps(self) -> list[tuple]:
        """Return the identity of the files, which tells whether decoded copies are up to date."""

    def examples(self) -> list[Example]:
        """Return the identity of each example, in order; a run stores its split by it."""


class SourceWrapper:
    """Base class of sources that change the examples of another source."""

    def __init__(self, source: Source):
        self.class_names = source.class_names
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example."""
        return self._source.size(index)


class ConcatenatedSource:
    """The examples of several sources of the same classes, one source after the other."""

    def __init__(self, sources: Sequence[Source]):
        self.class_names = sources[0].class_names
        self._sources = list(sources)
        self._starts = np.cumsum([0, *map(len, sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _locate(self, index: int) -> tuple[Source, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._sources[number], index - int(self._starts[number])

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example."""
        source, row = self._locate(index)
        return source.size(row)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, row = self._locate(index)
        return source[row]


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
