"""Progress bars, and lines of progress where standard output is not a terminal.

Rich is imported where a bar is made, since most commands show none.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
LINE_INTERVAL_S = 30


def track(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    *,
    show: bool = True,
    to_stderr: bool = False,
) -> Iterable[T]:
    """Return the items, with a bar that shows how many are done.

    Args:
        items: The items.
        description: The text before the bar.
        total: Number of items; None if `items` has a length.
        show: Whether to show the bar.
        to_stderr: Show it on standard error, and remove it at the end.
    """
    if not show:
        return items
    from rich import progress
    from rich.console import Console

    console = Console(stderr=to_stderr)
    return progress.track(items, description, total, console=console, transient=to_stderr)


def download_bar() -> "Progress":
    """Return a bar for bytes, shown if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class ProgressBar:
    """The progress of a long prediction: a bar on a terminal, otherwise a line every 30 s.

    Args:
        total: Number of items; 0 if unknown.
        done: Number of them that an earlier run completed.
        unit: Name of the items.
        bar: Whether a terminal shows a bar. Only one can be shown at a time.
    """

    def __init__(self, total: int, done: int = 0, unit: str = "images", bar: bool = True):
        from rich import progress
        from rich.console import Console

        self._unit = unit
        self._total, self._done_before, self._done, self._failed = total, done, done, 0
        self._start = self._last_line = time.monotonic()
        console = Console()
        self._bar = progress.Progress(
            progress.TextColumn("predict"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[note]}"),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not (bar and console.is_terminal),
        )
        self._task = self._bar.add_task("predict", total=total or None, completed=done, note="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, succeeded: int, failed: int = 0) -> None:
        """Count items that are done."""
        self._done, self._failed = self._done + succeeded + failed, self._failed + failed
        now = time.monotonic()
        rate = (self._done - self._done_before) / max(now - self._start, 1e-9)
        note = f"{rate:.1f} {self._unit}/s" + (f", {self._failed} failed" if self._failed else "")
        self._bar.update(self._task, completed=self._done, note=note)
        if self._bar.disable and now - self._last_line >= LINE_INTERVAL_S:
            self._last_line = now
            total = f"/{self._total}" if self._total else ""
            print(f"predict {self._done}{total}, {note}", flush=True)
