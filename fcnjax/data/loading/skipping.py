"""Handling of examples that cannot be read, as set by `config.data.loading.on_error`.

With `skip`, an unreadable training example is replaced by the next readable row, cyclically, so
that the replacement depends on the row only. An evaluation leaves unreadable examples out.
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

from fcnjax.data.source import Source, SourceWrapper
from fcnjax.errors import UserError, join_names
from fcnjax.io.lock_file import lock
from fcnjax.runtime.packages import to_stderr

MIN_FAILED = 3  # `config.data.loading.skip_most` applies from this number of failures on
T = TypeVar("T")


class UnreadableExample(UserError):
    """An example that an evaluation leaves out."""


class SkipLog:
    """The rows that were read and those that failed, in files that worker processes share.

    A copy in a worker may outlive the files of the process that made them. It then counts alone.

    Args:
        length: Number of rows of the source.
    """

    def __init__(self, length: int):
        self._length = length
        self._create_files()

    def _create_files(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fcnjax-skipped-"))
        self._end = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        (self._folder / "read").write_bytes(bytes(self._length))
        (self._folder / "failed").touch()
        self._read: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Without the finalizer: only the process that made the files removes them.
        return {"_length": self._length, "_folder": self._folder, "_read": None}

    def mark_read(self, row: int) -> None:
        """Count a row as read."""
        if self._read is None:
            if not self._folder.is_dir():
                self._create_files()
            self._read = np.memmap(self._folder / "read", np.uint8, "r+")
        self._read[row] = 1

    def mark_failed(self, row: int, reason: str) -> tuple[bool, list[str], int]:
        """Count a row as failed.

        Returns:
            Whether the row is new, the reasons of all failures, and the number of rows read.
        """
        if not self._folder.is_dir():
            self._create_files()
        self.mark_read(row)
        with (self._folder / "failed").open("r+", encoding="utf-8") as file:
            lock(file)  # held by the open file, so threads wait as processes do
            failed = dict(map(json.loads, file))
            is_new = row not in failed
            if is_new:
                failed[row] = reason
                file.write(json.dumps([row, reason]) + "\n")
            return is_new, list(failed.values()), int(np.count_nonzero(self._read))


class SkippingSource(SourceWrapper):
    """A source that skips examples that cannot be read, and reports each of them once.

    Args:
        source: The examples.
        max_share: Share of the examples read that may fail, from `MIN_FAILED` failures on.
        replace: Whether the next readable row replaces an unreadable one. If not,
            `UnreadableExample` is raised.
        log: Takes a line about each failure. Picklable.
    """

    def __init__(
        self,
        source: Source,
        max_share: float,
        replace: bool,
        log: Callable[[str], None] = to_stderr,
    ):
        super().__init__(source)
        self._max_share = max_share
        self._replace = replace
        self._log = log
        self._skip_log = SkipLog(len(source))

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example.

        Raises:
            UserError: Too many examples failed, or this one is left out (`UnreadableExample`).
        """
        return self._first_readable(self._source.size, index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # Python's iteration over a source ends with an IndexError.
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._first_readable(self._source.__getitem__, index)

    def _first_readable(self, read: Callable[[int], T], index: int) -> T:
        for step in range(len(self) if self._replace else 1):
            row = (index + step) % len(self)
            try:
                result = read(row)
            except UserError as error:
                last = error
                self._record_failure(row, str(error))
            else:
                self._skip_log.mark_read(row)
                return result
        if self._replace:
            raise UserError(f"{last} (and no other example of the split can be read)")
        raise UnreadableExample(str(last)) from last

    def _record_failure(self, row: int, reason: str) -> None:
        is_new, failed, read = self._skip_log.mark_failed(row, reason)
        if is_new:
            self._log(f"warning: skipped: {reason}")
        if len(failed) >= MIN_FAILED and len(failed) > self._max_share * read:
            names = join_names(text.partition(": ")[0] for text in failed)
            raise UserError(
                f"config.data.loading.skip_most: {len(failed)} of {read} examples tried cannot be "
                f"read, more than {self._max_share:g} of them: {names}; the first: "
                f"{failed[0]}"
            )


def skips_unreadable(data: ConfigDict) -> bool:
    """Return whether examples that cannot be read are skipped."""
    return data.loading.on_error == "skip"


def filter_readable(files: Sequence[T], read: Callable[[T], Any]) -> list[T]:
    """Return the files that can be read.

    Raises:
        UserError: None of them can be read; the error of the first.
    """
    readable, first_error = [], None
    for file in files:
        try:
            read(file)
        except UserError as error:
            first_error = first_error or error
        else:
            readable.append(file)
    if first_error and not readable:
        raise first_error
    return readable
