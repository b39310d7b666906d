"""How far a long prediction is: a bar on a terminal, else a line now and then."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 30  # seconds between lines


class ProgressBar:
    """Counts images (or others) that are done, and shows it.

    Args:
        total: How many there are; 0: nobody knows.
        done: Of these, how many were done before.
        unit: What they are.
        bar: Whether a terminal shows a bar; there can be one at a time.
    """

    def __init__(self, total: int, done: int = 0, unit: str = "images", bar: bool = True):
        self._unit = unit
        self._total, self._before, self._done, self._failed = total, done, done, 0
        self._start = self._told = time.monotonic()
        self._console = Console()
        columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *columns,
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (bar and self._console.is_terminal),
        )
        self._task = self._bar.add_task("predict", total=total or None, completed=done, note="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, labelled: int, failed: int) -> None:
        """Counts some more."""
        self._done, self._failed = self._done + labelled + failed, self._failed + failed
        now = time.monotonic()
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        note = f"{rate:.1f} {self._unit}/s" + (f", {self._failed} failed" if self._failed else "")
        self._bar.update(self._task, completed=self._done, note=note)
        if self._bar.disable and now - self._told >= EVERY:
            self._told = now
            total = f"/{self._total}" if self._total else ""
            print(f"predict {self._done}{total}, {note}", flush=True)
