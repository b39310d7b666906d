"""Writers of the metrics of a training: to the terminal, metrics.jsonl and TensorBoard.

A writer may be given any metrics. The terminal and the report know a few by name: `loss`, `lr` and
`images_per_second` of training, and `eval/NAME` of an evaluation.
"""

import contextlib
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from ml_collections import ConfigDict

from fcnjax.io.regular_files import writing
from fcnjax.io.terminal import optional_output
from fcnjax.metrics import EXTRA_PER_CLASS, PER_CLASS
from fcnjax.training.metrics_file import EVAL_PREFIX, JsonlWriter

TENSORBOARD_FOLDER = "tensorboard"
_FIRST = ("loss", "images_per_second")  # a narrow terminal cuts off the last values


class Writer(Protocol):
    """Receives the metrics of a training."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics of a step; a value may be infinite or NaN."""

    def close(self) -> None:
        """Finish writing."""


@contextlib.contextmanager
def open_writers(
    config: ConfigDict, workdir: Path, start_step: int, extra: Sequence[Writer] = ()
) -> Iterator[list[Writer]]:
    """Open the standard writers of a training and close them at the end.

    Args:
        config: The config.
        workdir: Folder of `metrics.jsonl` and `tensorboard/`.
        start_step: Step from which training continues. What an earlier run wrote about later steps
            is dropped, because those steps will be repeated.
        extra: Further writers, which the caller closes.

    Yields:
        The writers.

    Raises:
        UserError: A file cannot be written, or `metrics.jsonl` is damaged.
    """
    with contextlib.ExitStack() as stack:

        def closing(writer: Writer) -> Writer:
            return stack.enter_context(contextlib.closing(writer))

        writers = [closing(JsonlWriter(workdir, start_step))]
        if config.train.tensorboard:
            writers.append(closing(TensorBoardWriter(workdir, start_step)))
        writers.append(closing(TerminalWriter(config.train.steps)))
        yield [*writers, *extra]


class TensorBoardWriter:
    """Writes an event file in `tensorboard/`.

    tensorboardX's SummaryWriter writes from a thread that outlives `close` and fails silently on a
    full disk. Its record writer, used here, writes in the calling thread and raises errors.

    Args:
        workdir: Folder of `tensorboard/`.
        start_step: Step from which the run continues.

    Raises:
        UserError: The file cannot be written.
    """

    def __init__(self, workdir: str | Path, start_step: int = 0):
        # Imported here so that a run without TensorBoard does not wait for it.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._event, self._scalar = Event, scalar
        self._folder = Path(workdir) / TENSORBOARD_FOLDER
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # The suffix keeps two runs that start in the same second from sharing a file.
            suffix = f".{os.getpid()}.{start_step}"
            self._writer = EventsWriter(str(self._folder / "events"), suffix)
        if start_step:
            # Makes TensorBoard discard what earlier files contain from this step on.
            self._add(start_step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the finite values of a step.

        Raises:
            UserError: The file cannot be written.
        """
        for name, value in values.items():
            if math.isfinite(value):
                self._add(step, summary=self._scalar(name, value))
        with writing(self._folder):
            self._writer.flush()

    def _add(self, step: int, **content: Any) -> None:
        with writing(self._folder):
            self._writer.write_event(self._event(step=step, wall_time=time.time(), **content))

    def close(self) -> None:
        """Close the file."""
        with writing(self._folder):
            self._writer.close()


class TerminalWriter:
    """Shows metrics on standard output: one live line on a terminal, else one line a write.

    Those of an evaluation get a line of their own. Metrics of single classes, such as
    `eval/iou/vessel`, are not shown.

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
        prefix = f"step {step:>{len(str(self._total))}}/{self._total}"
        shown = {name: f"{value:.4g}" for name, value in values.items() if not _per_class(name)}
        training = [name for name in shown if not name.startswith(EVAL_PREFIX)]
        training.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        evaluation = [name for name in shown if name.startswith(EVAL_PREFIX)]
        with optional_output(self._stream):
            if training:
                pairs = (f"{name} {shown[name]}" for name in training)
                line = "  ".join([prefix, f"ETA {self._eta(step)}", *pairs])
                self._print(line.replace("images_per_second", "images/s"), is_live=True)
            if evaluation:
                pairs = (f"{name.removeprefix(EVAL_PREFIX)} {shown[name]}" for name in evaluation)
                self._print("  ".join([prefix, "evaluation", *pairs]))

    def _print(self, line: str, *, is_live: bool = False) -> None:
        """Print a line; on a terminal, in place of the live one or above it, to stay."""
        if self._live is None:
            print(line, file=self._stream, flush=True)
            return
        from rich.text import Text

        # Cut instead of wrapped: a live line of two rows could not be rewritten in place.
        text = Text(line, no_wrap=True, overflow="ellipsis")
        if is_live:
            self._live.start()
            self._live.update(text, refresh=True)
        else:
            self._live.console.print(text)

    def _eta(self, step: int) -> str:
        """Return the remaining time, estimated from the latest writes."""
        self._times.append((step, time.monotonic()))
        (first, begin), (last, end) = self._times[0], self._times[-1]
        if last <= first:
            return "-"
        return format_duration((end - begin) / (last - first) * max(self._total - step, 0))

    def close(self) -> None:
        """End the live line."""
        if self._live is not None:
            with optional_output(self._stream):
                self._live.stop()


def _per_class(name: str) -> bool:
    return any(part in (*PER_CLASS, *EXTRA_PER_CLASS) for part in name.split("/")[:-1])


def format_duration(seconds: float) -> str:
    """Return a duration as h:mm:ss, or as m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
