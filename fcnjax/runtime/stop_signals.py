"""Signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed."""

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

RETRY_S = 0.05  # a finalizer takes less
_raised: list[signal.Signals] = []  # by `raised`, also where a library dropped it
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end. An event loop logs and drops any other exception.

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

    The first Ctrl-C raises KeyboardInterrupt, as ever. The second signal of a kind ends the process
    at once.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if number in _raised:
            os.write(2, b"fcnjax: interrupted\n" if number == signal.SIGINT else b"")
            os._exit(128 + number)
        if _is_swallowed(frame):
            timer = threading.Timer(RETRY_S, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
            return
        _raised.append(signal.Signals(number))
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    _raised.clear()
    with handled(stop, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        yield


def _is_swallowed(frame: FrameType | None) -> bool:
    """Return whether Python prints and drops an exception that is raised here: in a finalizer."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def collected(on_first_signal: Callable[[], None]) -> Iterator[list[signal.Signals]]:
    """Collects SIGTERM, SIGHUP and SIGINT in a list; a second Ctrl-C raises KeyboardInterrupt.

    The list begins with those of `raised` around this block, if a library dropped the exception.

    Args:
        on_first_signal: Called at the first.
    """
    caught = list(_raised)

    def collect(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            # The user will not wait for the save.
            _raised.append(signal.SIGINT)
            raise KeyboardInterrupt
        caught.append(signal.Signals(number))
        if len(caught) == 1:
            on_first_signal()

    with handled(collect, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        yield caught
