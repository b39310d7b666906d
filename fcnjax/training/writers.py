"""Writers of the metrics of a training: to the terminal, metrics.jsonl and TensorBoard.

A writer may be given any metrics. The terminal and the report know a few by name: `loss`, `lr` and
`images_per_second` of training, and `eval/NAME` and `eval/NAME/CLASS` of an evaluation.
"""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ml_collections import ConfigDict

from fcnjax.io.regular_files import writing
from fcnjax.training.metrics_file import METRICS_FILE, JsonlWriter, read_lines
from fcnjax.training.terminal_writer import TerminalWriter

TENSORBOARD_FOLDER = "tensorboard"


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
        terminal = TerminalWriter(config.train.steps, config.eval.best_metric)
        for _, values in read_lines(workdir / METRICS_FILE):  # of the run that is resumed
            terminal.remember(values["step"], values)
        writers.append(closing(terminal))
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
