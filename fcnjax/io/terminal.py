"""Progress on standard output, whose loss must not end a training of days."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def optional_output(stream: IO[str]) -> Iterator[None]:
    """Discards the rest of a stream that takes no more, as a closed pipe, terminal or full disk.

    A line on standard error says so.
    """
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            print(
                f"fcnjax: standard output: {error.strerror}; the training goes on, and its "
                "metrics.jsonl has the progress",
                file=sys.stderr,
            )
        discard(stream)


def discard(stream: IO[str]) -> None:
    """Sends the rest of a stream, with what it still buffers, to nowhere."""
    with contextlib.suppress(OSError, ValueError):  # no file, or closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def print_progress(line: str) -> None:
    """Prints a line to standard output, if that takes it."""
    with optional_output(sys.stdout):
        print(line, flush=True)
