"""What a run reports while it trains: a line in the terminal, metrics.jsonl and TensorBoard.

Names are free but for a few that the terminal and the report know: `loss`, `lr` and
`images_per_second` of training, and `eval/...` of an evaluation.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic
from fcnjax.io.json_files import parse_json
from fcnjax.io.terminal import optional_output
from fcnjax.metrics import EXTRA_PER_CLASS, PER_CLASS

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
EVAL = "eval/"  # how the names of an evaluation begin
LONGEST_LINE = 4 * 2**20  # characters: the scores of 2,000 classes
MOST_VALUES = 5_000_000  # of a file that is read into memory
LARGEST_STEP = 2**31 - 1


class MetricWriter:
    """Writes the metrics of a run; on every process but the first, does nothing.

    Args:
        workdir: Where `metrics.jsonl` and `tensorboard/` go.
        total_steps: The last step, for the terminal.
        tensorboard: Whether to write event files.
        start_step: The step the run continues from; 0 starts it anew. What an earlier run wrote
            of later steps is dropped, as those steps will come again.
        enabled: False on processes other than the first.
        stream: The terminal or file of the progress lines; None is standard output.

    Raises:
        UserError: A file cannot be written or is no list of metrics; names it.
    """

    def __init__(
        self,
        workdir: str | Path,
        total_steps: int,
        tensorboard: bool,
        start_step: int = 0,
        enabled: bool = True,
        stream: IO[str] | None = None,
    ):
        self._enabled = enabled
        if not enabled:
            return
        self._path = Path(workdir) / METRICS_FILE
        _keep_until(self._path, start_step)
        with _naming(self._path):
            self._file = self._path.open("a", encoding="utf-8")
        self._events = None
        if tensorboard:
            try:
                self._events = _Events(Path(workdir) / TENSORBOARD_FOLDER, start_step)
            except UserError:
                self._file.close()
                raise
        self._terminal = _Terminal(total_steps, stream or sys.stdout)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics of a step; each value is anything that `float` takes.

        Raises:
            UserError: A file cannot be written (disk full); names it.
        """
        if not self._enabled:
            return
        values = {name: float(value) for name, value in metrics.items()}
        # JSON has no nan and no infinity.
        known = {name: v if math.isfinite(v) else None for name, v in values.items()}
        with _naming(self._path):
            self._file.write(json.dumps({"step": int(step), **known}) + "\n")
            self._file.flush()
        if self._events:
            self._events.write(int(step), values)
        self._terminal.write(int(step), values)

    def close(self) -> None:
        """Ends the terminal's line and closes the files; may be called twice."""
        if not self._enabled:
            return
        self._enabled = False
        self._terminal.close()
        if self._events:
            self._events.close()
        with _naming(self._path):
            self._file.close()

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_metrics(workdir: str | Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl`, each `{"step": 20, "loss": 0.5, ...}`, null as nan.

    A last line that is half-written is left out. No file gives an empty list.

    Raises:
        UserError: A line before the last is not a JSON object with a step and numbers; names the
            line. Or the file holds more than `MOST_VALUES` values.
    """
    path, found, count = Path(workdir) / METRICS_FILE, [], 0
    for _, values in _lines(path):
        count += len(values)
        if count > MOST_VALUES:
            raise UserError(f"{path}: has more than {MOST_VALUES} values")
        # The names of millions of values are few.
        found.append({sys.intern(k): math.nan if v is None else v for k, v in values.items()})
    return found


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the lines of the file and their values, less a last one that is half-written."""
    fault = None
    for number, line in enumerate(_read_lines(path), 1):
        if fault is not None:
            raise fault
        # What follows the last line feed was cut off, even where it happens to parse.
        if not line.endswith("\n") and len(line) <= LONGEST_LINE:
            return
        try:
            values = _values(line, path)
        except UserError:
            # Wrong only if another line follows it.
            fault = UserError(f"{path}: line {number} is not a line of metrics")
        else:
            yield line, values


def _read_lines(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    if not path.is_file():
        raise UserError(f"{path}: is not a regular file")
    try:
        # Line by line: a file may be larger than the memory.
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            while line := file.readline(LONGEST_LINE + 1):
                yield line
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _values(line: str, path: Path) -> dict[str, Any]:
    """The values of a line.

    Raises:
        UserError: It is not an object with a step and numbers.
    """
    values = parse_json(line, path) if len(line) <= LONGEST_LINE else None
    step = values.get("step") if isinstance(values, dict) else None
    if type(step) is not int or not 0 <= step <= LARGEST_STEP:
        raise UserError(f"{path}: has no step")
    for value in values.values():
        if value is not None and not (type(value) in (int, float) and math.isfinite(value)):
            raise UserError(f"{path}: {str(value)[:40]} is no number")
    return values


def _keep_until(path: Path, start_step: int) -> None:
    """Drops what a run that starts at `start_step` will write again."""
    if not path.exists():
        return
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        # A new run also writes its step 0 again.
        for line, values in _lines(path) if start_step else ():
            if values["step"] <= start_step:
                file.write(line)


def mean_metrics(window: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each metric over some steps, the losses first; values as `float` takes them."""
    names = sorted(window[0], key=lambda name: (not name.startswith("loss"), name))
    return {name: float(np.mean([float(step[name]) for step in window])) for name in names}


def as_floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a step as JSON takes them."""
    return {name: float(value) for name, value in metrics.items()}


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns a failed write into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


class _Events:
    """A TensorBoard event file.

    tensorboardX's SummaryWriter writes from a thread of its own, which outlives `close` and dies
    unseen on a full disk; its record writer, used here, writes in place and raises.
    """

    def __init__(self, folder: Path, start_step: int):
        # Imported here: a run without TensorBoard need not wait for it.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._event, self._scalar, self._folder = Event, scalar, folder
        with _naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # The name ends so that two runs begun in one second do not share a file.
            suffix = f".{os.getpid()}.{start_step}"
            self._writer = EventsWriter(str(folder / "events"), suffix)
        if start_step:
            # TensorBoard forgets what earlier files hold from this step on.
            start = SessionLog(status=SessionLog.START)
            self._add(Event(step=start_step + 1, session_log=start))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._add(self._event(step=step, summary=self._scalar(name, value)))
        with _naming(self._folder):
            self._writer.flush()

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        with _naming(self._folder):
            self._writer.write_event(event)

    def close(self) -> None:
        with _naming(self._folder):
            self._writer.close()


class _Terminal:
    """Progress: one live line on a terminal, a line for each write elsewhere."""

    def __init__(self, total_steps: int, stream: IO[str]):
        self._total, self._stream, self._live = total_steps, stream, None
        # The first write is the first mark: the time before it was spent on compiling.
        self._marks: deque[tuple[int, float]] = deque(maxlen=20)
        if stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=stream, highlight=False)
            # Without auto_refresh there is no thread. What others print meanwhile goes above.
            self._live = Live(console=console, auto_refresh=False, transient=False)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the values of training and, on a line of their own, those of an evaluation."""
        with optional_output(self._stream):
            self._write(step, values)

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        head = f"step {step:>{len(str(self._total))}}/{self._total}"
        shown = {name: f"{value:.4g}" for name, value in values.items() if not _per_class(name)}
        # A narrow terminal cuts off what comes last.
        names = sorted((k for k in shown if not k.startswith(EVAL)), key=_rank)
        training = [f"{_label(k)} {shown[k]}" for k in names]
        evaluation = [f"{k.removeprefix(EVAL)} {v}" for k, v in shown.items() if k.startswith(EVAL)]
        if training:
            self._progress("  ".join([head, f"ETA {self._eta(step)}", *training]))
        if evaluation:
            self._keep("  ".join([head, "evaluation", *evaluation]))

    def _progress(self, line: str) -> None:
        """A line that the next one may take the place of."""
        if self._live is None:
            self._keep(line)
            return
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._text(line), refresh=True)

    def _keep(self, line: str) -> None:
        """A line that stays, above the live one."""
        if self._live is None:
            print(line, file=self._stream, flush=True)
        else:
            self._live.console.print(self._text(line))

    def _text(self, line: str) -> Any:
        from rich.text import Text

        # Cut rather than wrapped: a live line of two rows could not be rewritten in place.
        return Text(line, no_wrap=True, overflow="ellipsis")

    def _eta(self, step: int) -> str:
        """Time left, by the pace of the latest writes."""
        self._marks.append((step, time.monotonic()))
        (first, begin), (last, end) = self._marks[0], self._marks[-1]
        if last <= first:
            return "-"
        return clock((end - begin) / (last - first) * max(self._total - step, 0))

    def close(self) -> None:
        if self._live is not None and self._live.is_started:
            with optional_output(self._stream):
                self._live.stop()


def _rank(name: str) -> int:
    first = ("loss", "images_per_second")
    return first.index(name) if name in first else len(first)


def _label(name: str) -> str:
    return "images/s" if name == "images_per_second" else name


def _per_class(name: str) -> bool:
    """Whether the name is one of a class, as `eval/iou/vessel`: too many for a line."""
    return any(part in (*PER_CLASS, *EXTRA_PER_CLASS) for part in name.split("/")[:-1])


def clock(seconds: float) -> str:
    """A duration as h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
