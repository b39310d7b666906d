"""The writers of a training."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ml_collections import ConfigDict

from fcnjax.training.writers.metrics_file import METRICS_FILE, JsonlWriter, read_lines
from fcnjax.training.writers.tensorboard import TensorBoardWriter
from fcnjax.training.writers.terminal import TerminalWriter


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
