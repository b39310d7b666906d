"""The interface of sources of labelled images."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fcnjax.data.splits.example import Example


class Source(Protocol):
    """Labelled images, read one at a time by index. Picklable, since workers get a copy.

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
