"""Names and clean-up of the shared memory of data workers.

Workers pass batches in segments of `/dev/shm`, which remain if all processes of a training are
killed at once. The segments carry the name of the process that made them. It and its workers hold
a lock on the file `fcnjax-TOKEN.lock` beside them: segments without a held lock can be removed.
"""

import contextlib
import functools
import multiprocessing
import os
import re
import secrets
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker, shared_memory, util
from pathlib import Path

from grain.multiprocessing import SharedMemoryArray

from fcnjax.io.lock_file import open_locked

FOLDER = Path("/dev/shm")
_LOCK_NAME = re.compile(r"(fcnjax-[0-9a-f]{8})\.lock")
_lock_files: list[int] = []  # descriptors of this process's locks; the kernel closes them


@contextlib.contextmanager
def segment_names() -> Iterator[str | None]:
    """Yield a name prefix for the segments of one pipeline; at the end remove those that remain.

    Segments of dead processes are removed too. Yields None where segments are not files (macOS).
    """
    _start_tracker()
    token = _claim_token()
    if token is None:
        yield None
        return
    prefix = f"{token}-{secrets.token_hex(4)}"
    try:
        yield prefix
    finally:
        for path in FOLDER.glob(f"{prefix}-*"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            # The tracker warns at exit about segments that were not unregistered, and prints a
            # traceback for an unknown name: the worker may have died before it registered it.
            resource_tracker.register(f"/{path.name}", "shared_memory")
            resource_tracker.unregister(f"/{path.name}", "shared_memory")


def use_prefix(prefix: str) -> None:
    """Set the name prefix of the segments that this process makes; called in a data worker."""
    _keep_lock(FOLDER / f"{prefix.rpartition('-')[0]}.lock")
    shared_memory._make_filename = lambda: f"/{prefix}-{secrets.token_hex(4)}"


def _start_tracker() -> None:
    """Start Python's resource tracker with SIGHUP blocked, so that it survives the terminal."""
    # It ignores SIGINT and SIGTERM by itself, and inherits the signal mask.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@functools.cache
def _claim_token() -> str | None:
    """Return the name prefix of this process; None where segments are not files."""
    if not (FOLDER.is_dir() and os.access(FOLDER, os.W_OK)):
        return None
    _remove_dead()
    token = f"fcnjax-{secrets.token_hex(4)}"
    try:
        _keep_lock(FOLDER / f"{token}.lock")
    except OSError:  # /dev/shm is full
        return None
    # The semaphores of the queues between the processes are files in /dev/shm as well.
    multiprocessing.current_process()._config["semprefix"] = f"/{token}"
    # An unlinked segment is freed with its last user, even if that is killed. (Grain unlinks it
    # when the array is deleted, which an exception or the end of the process may prevent.)
    SharedMemoryArray.unlink_on_del = lambda array: array.shm.unlink()
    # Runs after the finalizers of the semaphores, whose priority is 0.
    util.Finalize(None, _remove_lock_file, args=(token, os.getpid()), exitpriority=-1)
    return token


def _keep_lock(path: Path) -> None:
    file = open_locked(path, shared=True)
    if file is not None:
        with file:
            _lock_files.append(os.dup(file.fileno()))


def _remove_lock_file(token: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked process
        with contextlib.suppress(OSError):
            (FOLDER / f"{token}.lock").unlink()


def _remove_dead() -> None:
    """Remove the segments and semaphores of dead processes."""
    for lock_path in FOLDER.glob("fcnjax-*.lock"):
        match = _LOCK_NAME.fullmatch(lock_path.name)
        # Files of other users cannot be opened or removed.
        with contextlib.suppress(OSError):
            if match and (file := open_locked(lock_path)) is not None:
                with file:
                    for pattern in (f"{match[1]}-*", f"sem.{match[1]}-*"):
                        for path in FOLDER.glob(pattern):
                            path.unlink(missing_ok=True)
                    lock_path.unlink(missing_ok=True)
