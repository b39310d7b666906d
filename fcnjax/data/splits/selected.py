"""A source of selected examples of other sources."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcnjax.data.source import StoredSource
from fcnjax.data.splits.example import Example
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import stamps


class SelectedSource:
    """A source of selected examples of several sources.

    Args:
        sources: The sources, one or more.
        rows: Index of each example among those of all sources, one source after the other; -1 for
            a missing example.
        missing: Title of each missing example, by its index in `rows`.
    """

    def __init__(
        self, sources: Sequence[StoredSource], rows: Sequence[int], missing: Mapping[int, str]
    ):
        self.class_names = sources[0].class_names
        self._sources = list(sources)
        self._starts = np.cumsum([0, *map(len, sources)])
        self._rows = np.asarray(rows, np.int64)
        self._missing = dict(missing)

    def __len__(self) -> int:
        return len(self._rows)

    def _locate(self, index: int) -> tuple[StoredSource, int]:
        # IndexError ends a Python loop over a source.
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self._missing:
            raise UserError(f"{self._missing[index]}: is missing")
        row = int(self._rows[index])
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._sources[number], row - int(self._starts[number])

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an example.

        Raises:
            UserError: The example is missing.
        """
        source, row = self._locate(index)
        return source.size(row)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, row = self._locate(index)
        return source[row]

    def examples(self) -> list[Example]:
        """Return the identity of each example."""
        every = [example for source in self._sources for example in source.examples()]
        return [
            Example((self._missing[position],), ()) if position in self._missing else every[row]
            for position, row in enumerate(self._rows.tolist())
        ]

    def stamps(self) -> list[tuple]:
        """Return the stamps of the files of the examples, and the identity of their parts."""
        examples = self.examples()
        files = dict.fromkeys(file for example in examples for file in example.files)
        return [*stamps(files), *((e.names, e.box, e.digest) for e in examples)]
