"""Signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


class Stopped(BaseException):
    """A signal asked the process to end; derived as KeyboardInterrupt is, and for the same reason.

    Attributes:
        exit_code: 128 and the signal's number, as a shell has it.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextlib.contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Handles signals inside the block; those that are ignored (`nohup`) stay so.

    Only the main thread can; in another, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {}
    for number in numbers:
        # None: the handler is C++'s, such as JAX's own in a job of several processes.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Stopped` in the block at the first SIGTERM or SIGHUP, so that files are cleaned up.

    A second one ends the process at once.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    with handled(stop, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def collected(on_first: Callable[[], None]) -> Iterator[list[signal.Signals]]:
    """Collects SIGTERM, SIGHUP and SIGINT in a list; a second Ctrl-C raises KeyboardInterrupt.

    Args:
        on_first: Called at the first.
    """
    caught = []

    def collect(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            # The user will not wait for the save.
            raise KeyboardInterrupt
        caught.append(signal.Signals(number))
        if len(caught) == 1:
            on_first()

    with handled(collect, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        yield caught
