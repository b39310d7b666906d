"""The interface of a metrics writer, and the writers of a training.

A writer may be given any metrics. The terminal and the report know a few by name: `loss`, `lr` and
`images_per_second` of training, and `eval/NAME` of an evaluation.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ml_collections import ConfigDict

from fcnjax.training.writers.jsonl import JsonlWriter
from fcnjax.training.writers.tensorboard import TensorBoardWriter
from fcnjax.training.writers.terminal import EVAL_PREFIX, TerminalWriter

__all__ = ["EVAL_PREFIX", "Writer", "open_writers"]


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
        writers: list[Writer] = [
            stack.enter_context(contextlib.closing(JsonlWriter(workdir, start_step)))
        ]
        if config.train.tensorboard:
            events = TensorBoardWriter(workdir, start_step)
            writers.append(stack.enter_context(contextlib.closing(events)))
        terminal = TerminalWriter(config.train.steps)
        writers.append(stack.enter_context(contextlib.closing(terminal)))
        yield [*writers, *extra]
