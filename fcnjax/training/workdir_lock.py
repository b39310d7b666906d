"""The lock of a training on its workdir, so that only one training writes to it."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from fcnjax.errors import UserError
from fcnjax.io.lock_file import POLL_S, open_locked, try_lock
from fcnjax.io.regular_files import writing
from fcnjax.io.terminal import LogFn

# How long to wait for another training on the workdir to end.
GRACE_S = 10.0  # it may receive its signal a little after this training starts
ENDING_S = 300.0  # saving tens of gigabytes to a slow disk takes minutes
OTHER_HOST_S = 120.0  # an NFS server keeps the locks of a dead host for 90 s by default


class WorkdirLock:
    """The lock that `lock_workdir` holds, with a record of its holder in the file `.lock`."""

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
        """Record that this process is saving its state and will end."""
        if not self._record["ending"]:
            self._record["ending"] = True
            self._write()

    def _write(self) -> None:
        # The lock holds without its record, which a full disk may refuse.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.write(json.dumps(self._record).encode() + b"\n")


@contextlib.contextmanager
def lock_workdir(workdir: Path, log: LogFn) -> Iterator[WorkdirLock]:
    """Hold the lock of a workdir.

    Waits up to `ENDING_S` for a holder that is ending, up to `OTHER_HOST_S` for one on another
    host, which may have died, and up to `GRACE_S` for any other.

    Args:
        workdir: The folder. It is created, and removed again if nothing was written to it.
        log: Takes a line about a wait or missing file locks.

    Raises:
        UserError: Another training holds the lock (names its host, process and start), or the
            folder cannot be written.
    """
    new_folders = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    path = workdir / ".lock"
    try:
        with writing(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            file = _wait_for_lock(path, log)
        with file:
            try:
                if try_lock(file) is None:
                    log(
                        f"{workdir}: this file system has no locks; a second training on this "
                        "workdir is noticed only on this host"
                    )
                yield WorkdirLock(file)
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
    finally:
        with contextlib.suppress(OSError):  # not empty
            for folder in new_folders:
                folder.rmdir()


def _wait_for_lock(path: Path, log: LogFn) -> IO[bytes]:
    """Open the lock file of a workdir once no other training holds it."""
    start, logged = time.monotonic(), False
    while True:
        file, holder = open_locked(path), _read_holder(path)
        if file is not None and not _is_alive(holder):
            return file
        if file is not None:  # a file system without locks has only the record
            file.close()
        limit, description = _max_wait(holder), _describe(holder)
        if time.monotonic() - start >= limit:
            raise UserError(
                f"{path.parent}: is in use by {description}; only one training can write to a "
                "workdir: stop that one, or use another workdir"
            )
        if not logged:
            log(f"{path.parent} is in use by {description}; waiting up to {limit:.0f} s")
            logged = True
        time.sleep(POLL_S)


def _read_holder(path: Path) -> dict[str, Any]:
    """Return the record of a lock file; empty if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        record = json.loads(file.read(4096))
        return record if isinstance(record, dict) else {}
    return {}


def _max_wait(holder: dict[str, Any]) -> float:
    if holder.get("ending") is True:
        return ENDING_S
    return GRACE_S if holder.get("host") == socket.gethostname() else OTHER_HOST_S


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    ending = ", which is ending" if holder.get("ending") is True else ""
    return "process {} on {} since {}{}".format(
        *(str(holder.get(key, "?"))[:64] for key in ("pid", "host", "since")), ending
    )


def _is_alive(holder: dict[str, Any]) -> bool:
    """Return whether the process of a record is running, as far as this host can know."""
    pid, started = holder.get("pid"), holder.get("started")
    is_other = holder.get("host") == socket.gethostname() and pid != os.getpid()
    return is_other and started is not None and _start_time(pid) == started


def _start_time(pid: Any) -> str | None:
    """Return the start of a process in ticks since the boot; None if unknown."""
    if not isinstance(pid, int):
        return None
    with contextlib.suppress(OSError, IndexError):
        # The program name, in parentheses, may contain spaces.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    return None
