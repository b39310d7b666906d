"""Show metrics on standard output: one live line on a terminal, otherwise one line a write."""

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import IO, Any

from fcnjax.io.progress import optional_output
from fcnjax.metrics import EXTRA_PER_CLASS, PER_CLASS

EVAL_PREFIX = "eval/"  # of the names of an evaluation's metrics
_FIRST = ("loss", "images_per_second")  # a narrow terminal cuts off the last values


class TerminalWriter:
    """Shows the training metrics and, on a line of their own, those of an evaluation.

    Metrics of single classes, such as `eval/iou/vessel`, are not shown.

    Args:
        total_steps: Number of the last step.
        stream: The terminal or file; None is standard output.
    """

    def __init__(self, total_steps: int, stream: IO[str] | None = None):
        self._total, self._stream = total_steps, stream or sys.stdout
        self._live: Any = None
        # Starts at the first write, since the time before it includes compilation.
        self._times: deque[tuple[int, float]] = deque(maxlen=20)
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, highlight=False)
            # Without auto_refresh there is no thread. Other output goes above the live line.
            self._live = Live(console=console, auto_refresh=False, transient=False)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Show the metrics of a step."""
        with optional_output(self._stream):
            self._write(step, values)

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        prefix = f"step {step:>{len(str(self._total))}}/{self._total}"
        shown = {name: f"{value:.4g}" for name, value in values.items() if not _per_class(name)}
        training = [name for name in shown if not name.startswith(EVAL_PREFIX)]
        training.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        if training:
            labels = (name.replace("images_per_second", "images/s") for name in training)
            pairs = (f"{label} {shown[n]}" for label, n in zip(labels, training, strict=True))
            self._update("  ".join([prefix, f"ETA {self._eta(step)}", *pairs]))
        evaluation = [
            f"{name.removeprefix(EVAL_PREFIX)} {value}"
            for name, value in shown.items()
            if name.startswith(EVAL_PREFIX)
        ]
        if evaluation:
            self._print("  ".join([prefix, "evaluation", *evaluation]))

    def _update(self, line: str) -> None:
        """Show a line in place of the live one."""
        if self._live is None:
            self._print(line)
            return
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._text(line), refresh=True)

    def _print(self, line: str) -> None:
        """Print a line that stays, above the live one."""
        if self._live is None:
            print(line, file=self._stream, flush=True)
        else:
            self._live.console.print(self._text(line))

    def _text(self, line: str) -> Any:
        from rich.text import Text

        # Cut instead of wrapped: a live line of two rows could not be rewritten in place.
        return Text(line, no_wrap=True, overflow="ellipsis")

    def _eta(self, step: int) -> str:
        """Return the remaining time, estimated from the latest writes."""
        self._times.append((step, time.monotonic()))
        (first, begin), (last, end) = self._times[0], self._times[-1]
        if last <= first:
            return "-"
        return format_duration((end - begin) / (last - first) * max(self._total - step, 0))

    def close(self) -> None:
        """End the live line."""
        if self._live is not None and self._live.is_started:
            with optional_output(self._stream):
                self._live.stop()


def _per_class(name: str) -> bool:
    return any(part in (*PER_CLASS, *EXTRA_PER_CLASS) for part in name.split("/")[:-1])


def format_duration(seconds: float) -> str:
    """Return a duration as h:mm:ss, or as m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
