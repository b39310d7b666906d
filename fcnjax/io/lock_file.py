"""Locks between processes: an flock on a file, which the kernel releases when the holder dies.

Where the file system has no locks (`NO_LOCKS`), the processes go on without one.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from fcnjax.errors import UserError

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
POLL_S = 0.2
# A training may get its signal to end a little after the next one starts.
GRACE_S = 10.0
# A save of tens of gigabytes to a slow disk takes minutes.
ENDING_S = 300.0
# An NFS server keeps the locks of a host that died for 90 s by default.
OTHER_HOST_S = 120.0


def try_lock(file: IO[Any] | int, *, shared: bool = False) -> bool | None:
    """Locks an open file, if no other process has it locked.

    Args:
        file: The file or its descriptor. The lock ends when the descriptor is closed.
        shared: Whether others may hold shared locks beside this one.

    Returns:
        Whether it is locked now; None where the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def open_locked(path: Path, *, shared: bool = False) -> IO[bytes] | None:
    """Opens a lock file, made if necessary, and locks it; None if another process has it.

    The holder may remove the file while it has the lock.
    """
    while True:
        # Not through a symbolic link, which another user may have put into a shared folder.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o644), "ab+", buffering=0)
        try:
            taken = try_lock(file, shared=shared)
            if taken is False:
                file.close()
                return None
            with contextlib.suppress(FileNotFoundError):  # removed by the holder before
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except OSError:
            file.close()
            raise
        file.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of `path`, the file `.NAME.lock` beside it; waits while another has it.

    Raises:
        UserError: The folder cannot be written; names `path`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while (file := open_locked(path.parent / f".{path.name}.lock")) is None:
            time.sleep(POLL_S)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    with file:
        yield


class WorkdirLock:
    """The lock of a training on its workdir, the file `.lock` in it; made by `lock_workdir`."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _start_time(os.getpid()),
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
            "ending": False,
        }
        self._write()

    def mark_ending(self) -> None:
        """Tells those who wait for the lock that this process saves its state and ends."""
        if not self._record["ending"]:
            self._record["ending"] = True
            self._write()

    def _write(self) -> None:
        # A full disk may not take the record, which only explains the lock.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.write(json.dumps(self._record).encode() + b"\n")


@contextlib.contextmanager
def lock_workdir(
    workdir: Path, log: Callable[[str], None], *, may_wait: bool = True
) -> Iterator[WorkdirLock]:
    """Holds the lock of a workdir, which one training at a time has.

    Waits up to `ENDING_S` for a holder that is ending, as one that got SIGTERM and saves; up to
    `OTHER_HOST_S` for one on another host, which may have died; up to `GRACE_S` for any other.

    Args:
        workdir: The folder; is made, and removed again if nothing was written to it.
        log: Takes the lines that tell of a wait, or that there are no locks.
        may_wait: Whether to wait at all.

    Raises:
        UserError: Another training has it (names its host, its process and since when), or the
            folder cannot be written.
    """
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    path = workdir / ".lock"
    try:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            file = _wait(path, workdir, log, may_wait)
        except OSError as error:
            raise UserError(f"{workdir}: cannot be written: {error.strerror or error}") from error
        with file:
            try:
                if try_lock(file) is None:
                    log(
                        f"{workdir}: this file system has no locks; a second training on this "
                        "workdir is noticed on this host only"
                    )
                yield WorkdirLock(file)
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
    finally:
        with contextlib.suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()


def _wait(path: Path, workdir: Path, log: Callable[[str], None], may_wait: bool) -> IO[bytes]:
    """Opens the lock file of a workdir, once no other training has it."""
    start, logged = time.monotonic(), False
    while True:
        file = open_locked(path)
        holder = _holder(path)
        if file is not None and not _is_alive(holder):
            return file
        if file is not None:  # without locks, the record is all that there is
            file.close()
        limit = _longest_wait(holder) if may_wait else 0.0
        who = _words(holder)
        if time.monotonic() - start >= limit:
            raise UserError(
                f"--workdir: {workdir} is being trained in by {who}; one training at a time "
                "writes to a workdir: stop that one, or give another --workdir"
            )
        if not logged:
            log(f"{workdir} is in use by {who}; waiting up to {limit:.0f} s for it to end")
            logged = True
        time.sleep(POLL_S)


def _holder(path: Path) -> dict[str, Any]:
    """The record of a lock file; empty where it has none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with path.open("rb") as file:
            record = json.loads(file.read(4096))
        if isinstance(record, dict):
            return record
    return {}


def _longest_wait(holder: dict[str, Any]) -> float:
    if holder.get("ending") is True:
        return ENDING_S
    return GRACE_S if holder.get("host") == socket.gethostname() else OTHER_HOST_S


def _words(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    ending = ", which is ending" if holder.get("ending") is True else ""
    return "process {} on {} since {}{}".format(
        *(str(holder.get(key, "?"))[:64] for key in ("pid", "host", "since")), ending
    )


def _is_alive(holder: dict[str, Any]) -> bool:
    """Return whether the process of a record runs, as far as this host can know."""
    pid, started = holder.get("pid"), holder.get("started")
    if holder.get("host") != socket.gethostname() or pid == os.getpid() or started is None:
        return False
    return _start_time(pid) == started


def _start_time(pid: Any) -> str | None:
    """When a process started, in ticks since the boot; None where it is not known."""
    if not isinstance(pid, int):
        return None
    with contextlib.suppress(OSError, IndexError):
        # The name of the program, in brackets, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    return None
