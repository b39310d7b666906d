"""One training at a time has the lock of a workdir."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from fcnjax.errors import UserError
from fcnjax.training import workdir_lock
from fcnjax.training.workdir_lock import lock_workdir

HOLD = """
import sys, time
from pathlib import Path
from fcnjax.training.workdir_lock import lock_workdir
with lock_workdir(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(workdir):
    """Start a process that holds the lock of a workdir."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workdir)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_second_training_is_refused_with_host_process_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir_lock, "GRACE_S", 0.3)
    lines = []
    with holder(tmp_path) as process:
        with (
            pytest.raises(
                UserError, match=f"process {process.pid} on {socket.gethostname()} since"
            ),
            lock_workdir(tmp_path, lines.append),
        ):
            pass
        assert "waiting up to 0 s" in lines[0]
        assert process.poll() is None
        # A killed process leaves its file, and the lock is free.
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".lock").exists()
        with lock_workdir(tmp_path, lines.append):
            record = json.loads((tmp_path / ".lock").read_text())
            assert record["pid"] == os.getpid()
    assert len(lines) == 1
    assert not (tmp_path / ".lock").exists()


def test_lock_waits_for_a_training_that_is_ending(tmp_path, monkeypatch):
    # As when a requeued job starts while the one before it saves.
    monkeypatch.setattr(workdir_lock, "GRACE_S", 0.0)
    held, events = threading.Event(), []

    def save():
        with lock_workdir(tmp_path, events.append) as lock:
            lock.mark_ending()
            held.set()
            time.sleep(0.6)
            events.append("saved")

    thread = threading.Thread(target=save)
    thread.start()
    held.wait()
    with lock_workdir(tmp_path, events.append):
        events.append("started")
    thread.join()
    assert "which is ending; waiting up to 300 s" in events[0]
    assert events[1:] == ["saved", "started"]


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[" * 5000, b'{"pid": {}, "host": [1]}'])
def test_content_of_the_lock_file_does_not_matter(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    with lock_workdir(tmp_path, print):
        pass


def test_training_on_this_host_is_noticed_without_file_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(workdir_lock, "GRACE_S", 0.0)
    with holder(tmp_path) as process:
        monkeypatch.setattr(fcntl, "flock", flock)
        with (
            pytest.raises(UserError, match=f"process {process.pid}"),
            lock_workdir(tmp_path, print),
        ):
            pass
    lines = []
    with lock_workdir(tmp_path, lines.append):  # the process of the record is dead
        pass
    assert "has no locks" in lines[0]


def test_workdir_created_for_the_lock_is_removed_with_it(tmp_path):
    workdir = tmp_path / "runs" / "mine"
    with pytest.raises(UserError, match="config"), lock_workdir(workdir, print):
        raise UserError("config.model.encoder: unknown")
    assert not (tmp_path / "runs").exists()
    with lock_workdir(workdir, print):
        (workdir / "config.json").write_text("{}")
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


def test_lock_file_is_not_opened_through_a_symbolic_link(tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="cannot be written"), lock_workdir(tmp_path / "run", print):
        pass
    assert (tmp_path / "mine").read_text() == "kept"
