"""How far a long prediction is: a bar on a terminal, else a line now and then."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 30  # seconds between lines


class Tally:
    """Counts images that are done, and shows it.

    Args:
        total: How many there are.
        done: Of these, how many were done before.
    """

    def __init__(self, total: int, done: int = 0):
        self._total, self._before, self._done, self._failed = total, done, done, 0
        self._start = self._told = time.monotonic()
        self._console = Console()
        columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *columns,
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("predict", total=total, completed=done, note="")

    def __enter__(self) -> "Tally":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, labelled: int, failed: int) -> None:
        """Counts some more."""
        self._done, self._failed = self._done + labelled + failed, self._failed + failed
        now = time.monotonic()
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        note = f"{rate:.1f} images/s" + (f", {self._failed} failed" if self._failed else "")
        self._bar.update(self._task, completed=self._done, note=note)
        if not self._console.is_terminal and now - self._told >= EVERY:
            self._told = now
            print(f"predict {self._done}/{self._total}, {note}", flush=True)
