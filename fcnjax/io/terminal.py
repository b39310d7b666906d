"""Progress on standard output, which training does not need."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO

LogFn = Callable[[str], None]  # takes lines for the user


@contextlib.contextmanager
def optional_output(stream: IO[str]) -> Iterator[None]:
    """Discard further output if the stream fails: a closed pipe or terminal, or a full disk.

    A line on standard error says so.
    """
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            print(
                f"fcnjax: standard output: {error.strerror}; training continues, and its "
                "progress is in metrics.jsonl",
                file=sys.stderr,
            )
        discard(stream)


def discard(stream: IO[str]) -> None:
    """Redirect a stream, and its buffered output, to the null device."""
    with contextlib.suppress(OSError, ValueError):  # not a file, or closed
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def print_progress(line: str) -> None:
    """Print a line to standard output; continue if that fails."""
    with optional_output(sys.stdout):
        print(printable(line, sys.stdout), flush=True)


def printable(text: str, stream: IO[str]) -> str:
    """Return a text with `?` for the characters that a stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def format_duration(seconds: float) -> str:
    """Return a duration as h:mm:ss, or as m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextlib.contextmanager
def hidden_stderr() -> Iterator[None]:
    """Discard what native code writes to standard error in the block."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
