"""Signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP when a terminal is closed."""

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

RETRY_S = 0.05  # longer than a finalizer takes
# Raised by the `raise_stop_signals` that is running, even if a library dropped the exception.
_raised: list[signal.Signals] | None = None
Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    A KeyboardInterrupt, because an event loop logs and drops other exceptions.

    Attributes:
        exit_code: 128 plus the number of the signal, as in a shell.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextlib.contextmanager
def _handle(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals in the block, except those that the process ignores (`nohup`).

    Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {}
    for number in numbers:
        # None is a handler in C++, such as JAX's in a job of several processes.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


@contextlib.contextmanager
def raise_stop_signals() -> Iterator[None]:
    """Raise `Stopped` in the block at the first SIGTERM or SIGHUP, so that files are cleaned up.

    The first Ctrl-C raises KeyboardInterrupt as usual. The second signal of a kind ends the process
    at once.
    """
    global _raised
    raised, outer = [], _raised

    def stop(number: int, frame: FrameType | None) -> None:
        if number in raised:
            os.write(2, b"fcnjax: interrupted\n" if number == signal.SIGINT else b"")
            os._exit(128 + number)
        if _in_finalizer(frame):
            timer = threading.Timer(RETRY_S, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
            return
        raised.append(signal.Signals(number))
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    _raised = raised
    try:
        with _handle(stop, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            yield
    finally:
        _raised = outer  # the next training in this process has not been asked to stop


def _in_finalizer(frame: FrameType | None) -> bool:
    """Return whether a frame is in a finalizer, where Python prints and drops exceptions."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def collect_stop_signals(on_first_signal: Callable[[], None]) -> Iterator[list[signal.Signals]]:
    """Collect SIGTERM, SIGHUP and SIGINT in a list; a second Ctrl-C raises KeyboardInterrupt.

    The list starts with the signals of an enclosing `raise_stop_signals`, if a library dropped the
    exception.

    Args:
        on_first_signal: Called at the first signal.
    """
    signals = list(_raised or [])

    def collect(number: int, frame: FrameType | None) -> None:
        if signals and number == signal.SIGINT:
            # The user does not want to wait for the save.
            if _raised is not None:
                _raised.append(signal.SIGINT)
            raise KeyboardInterrupt
        signals.append(signal.Signals(number))
        if len(signals) == 1:
            on_first_signal()

    with _handle(collect, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        yield signals
