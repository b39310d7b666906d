"""Examples that cannot be read: `config.data.loading.on_error` says whether they stop the run.

Under `skip` a training example that cannot be read is replaced by the next one that can, counted
round, which depends on its row alone; in an evaluation it is left out.
"""

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.source import Source
from fcnjax.errors import UserError
from fcnjax.io.lock_file import lock
from fcnjax.runtime.packages import to_stderr

LEAST_FAILED = 3  # below which no share is taken
NAMED = 3  # of them, in an error
T = TypeVar("T")


class Unreadable(UserError):
    """An example that an evaluation leaves out."""


class SkipLog:
    """Which rows were read and which failed, in files that copies in other processes share.

    A copy outlives its files where the process that made them has ended; it counts alone then.

    Args:
        length: Rows of the source.
    """

    def __init__(self, length: int):
        self._length = length
        self._start()

    def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fcnjax-skipped-"))
        self._end = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        (self._folder / "seen").write_bytes(bytes(self._length))
        (self._folder / "failed").touch()
        self._seen: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The files are the maker's to remove.
        return {"_length": self._length, "_folder": self._folder, "_seen": None}

    def see(self, row: int) -> None:
        """Counts a row as seen."""
        if self._seen is None:
            if not self._folder.is_dir():
                self._start()
            self._seen = np.memmap(self._folder / "seen", np.uint8, "r+")
        self._seen[row] = 1

    def fail(self, row: int, reason: str) -> tuple[bool, list[str], int]:
        """Counts a row as failed.

        Returns:
            Whether it is news, the reasons of all that failed, and how many rows were seen.
        """
        if not self._folder.is_dir():
            self._start()
        self.see(row)
        with (self._folder / "failed").open("r+", encoding="utf-8") as file:
            lock(file)  # held by the open file, so threads wait as processes do
            failed = dict(map(json.loads, file))
            news = row not in failed
            if news:
                failed[row] = reason
                file.write(json.dumps([row, reason]) + "\n")
            return news, list(failed.values()), int(np.count_nonzero(self._seen))


class Skipping:
    """A source whose examples that cannot be read are skipped, each told of once.

    Args:
        source: The examples.
        most: Share of those seen that may fail, where `LEAST_FAILED` or more did.
        replace: Whether the next row that can be read stands for one that cannot; else
            `Unreadable` is raised.
        log: Takes a line on each that failed. Picklable.
    """

    def __init__(
        self, source: Source, most: float, replace: bool, log: Callable[[str], None] = to_stderr
    ):
        self.class_names = source.class_names
        self._source = source
        self._most = most
        self._replace = replace
        self._log = log
        self._tally = SkipLog(len(source))

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example.

        Raises:
            UserError: Too many failed, or it has to be left out (`Unreadable`).
        """
        return self._tried(self._source.size, index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # Python ends a loop over a source by this.
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._tried(self._source.__getitem__, index)

    def _tried(self, read: Callable[[int], T], index: int) -> T:
        for step in range(len(self) if self._replace else 1):
            row = (index + step) % len(self)
            try:
                found = read(row)
            except UserError as error:
                last = error
                self._count(row, str(error))
            else:
                self._tally.see(row)
                return found
        if self._replace:
            raise UserError(f"{last} (and no other example of the split can be read)")
        raise Unreadable(str(last)) from last

    def _count(self, row: int, reason: str) -> None:
        news, failed, seen = self._tally.fail(row, reason)
        if news:
            self._log(f"warning: skipped: {reason}")
        if len(failed) >= LEAST_FAILED and len(failed) > self._most * seen:
            names = ", ".join(text.partition(": ")[0] for text in failed[:NAMED])
            more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
            raise UserError(
                f"config.data.loading.skip_most: {len(failed)} of {seen} examples seen cannot be "
                f"read, more than {self._most:g} of them: {names}{more}; the first: {failed[0]}"
            )


def skips(data: ConfigDict) -> bool:
    """Return whether examples that cannot be read are skipped."""
    return data.loading.on_error == "skip"


def guarded(config: ConfigDict, part: str, source: Source) -> Source:
    """The source of a split, as `config.data.loading.on_error` says."""
    if not skips(config.data):
        return source
    return Skipping(source, config.data.loading.skip_most, replace=part == "train")


def readable(files: Sequence[T], read: Callable[[T], Any]) -> list[T]:
    """Those of the files that can be read.

    Raises:
        UserError: None can; that of the first.
    """
    found, first = [], None
    for file in files:
        try:
            read(file)
        except UserError as error:
            first = first or error
        else:
            found.append(file)
    if first and not found:
        raise first
    return found
