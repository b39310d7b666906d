"""The row of the table of readers that are fuzzed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

MAX_SECONDS, MAX_MEGABYTES = 10.0, 1024.0  # of a case; the memory above the start
Mutate = Callable[[Random, bytes], bytes]


class Target(NamedTuple):
    """A reader, small real files for it, and how they are damaged.

    Attributes:
        name: Of the reader, on the command line.
        make: Writes real files to an empty folder. Returns those that are mutated, one a case.
        read: Reads a file as fcnjax does, given its path in a copy of the folder. It must read the
            real files; of a mutated one it may raise UserError and nothing else.
        mutators: One of them is drawn for each mutation of a case.
        start: Prepares what all cases share (a model, a server); called once in the process.
    """

    name: str
    make: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], object]
    mutators: Sequence[Mutate]
    start: Callable[[Path], object] | None = None
