"""A row of the table of fuzzed readers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

MAX_SECONDS, MAX_MEGABYTES = 10.0, 1024.0  # of a case; the memory above the start
Mutate = Callable[[Random, bytes], bytes]


class Target(NamedTuple):
    """A reader with small real files, and the mutations that damage them.

    Attributes:
        name: Name of the reader on the command line.
        make: Writes real files to an empty folder; returns those to mutate, one for each case.
        read: Reads a file as fcnjax does, given its path in a copy of the folder. It must read the
            real files; for a mutated one it may only raise UserError.
        mutators: Mutations, drawn at random for each case.
        start: Prepares a model or server for all cases; called once in the process.
    """

    name: str
    make: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], object]
    mutators: Sequence[Mutate]
    start: Callable[[Path], object] | None = None
