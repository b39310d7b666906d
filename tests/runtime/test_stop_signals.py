"""Signals and errors of the machine that end a command."""

import errno
import os
import signal
import time

import pytest

from fcnjax import cli
from fcnjax.cli import command_line
from fcnjax.runtime import stop_signals

pytestmark = pytest.mark.usefixtures("default_signal_handlers")


def run(monkeypatch, action):
    """Return the exit code of a command with this action."""

    def command(*_):
        action()
        return 0

    monkeypatch.setattr(cli.subcommands, "run", command)
    return cli.main(["train"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_command_after_cleanup(monkeypatch, capsys, number):
    cleaned = []

    def work():
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append(True)

    assert run(monkeypatch, work) == 128 + number
    assert cleaned
    assert capsys.readouterr().err == f"fcnjax: stopped by {number.name}\n"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_signal_in_a_finalizer_is_not_lost(monkeypatch, capsys):
    # Python drops exceptions there, and JAX collects garbage in such a callback.

    class Dying:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)  # the handler runs between two instructions

    def work():
        Dying()
        time.sleep(10)

    begin = time.monotonic()
    assert run(monkeypatch, work) == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 5
    assert capsys.readouterr().err == "fcnjax: stopped by SIGTERM\n"


def test_nohup_ignores_a_closed_terminal(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
        with stop_signals.collect_stop_signals(lambda: None) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_first_signal_is_collected_and_second_interrupt_raises():
    calls = []
    with stop_signals.collect_stop_signals(lambda: calls.append(True)) as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals == [signal.SIGINT, signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert calls == [True]
    assert _collected() == []


def _collected():
    """Return the signals that a training would start with."""
    with stop_signals.collect_stop_signals(lambda: None) as signals:
        return list(signals)


def test_training_after_a_stopped_command_is_not_stopped(monkeypatch):
    seen = []

    def work():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        seen.extend(_collected())  # an exception that a library dropped

    assert run(monkeypatch, work) == 0
    assert seen == [signal.SIGTERM]
    assert _collected() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space"), "the output: cannot be written: No space left"),
        (OSError(errno.EROFS, "Read-only", "/w/x"), "/w/x: cannot be written: Read-only file"),
        (MemoryError(), "memory ran out; try smaller batches"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes\nmore"), "9 bytes"),
    ],
)
def test_error_of_the_machine_is_one_line(monkeypatch, capsys, error, words):
    def fail():
        raise error

    monkeypatch.setattr(command_line, "discard", lambda stream: None)
    assert run(monkeypatch, fail) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_error_of_the_code_has_a_traceback(monkeypatch):
    def fail():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run(monkeypatch, fail)
