"""Names for the shared memory of data workers, so that none of it outlives its processes.

Workers pass batches in segments of `/dev/shm`, which stay when all processes of a training are
killed at once. Ours are named for the process that made them, which holds a lock on a file beside
them, `fcnjax-TOKEN.lock`, as do its workers: where nobody holds the lock, the segments can go.
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
_MARKER = re.compile(r"(fcnjax-[0-9a-f]{8})\.lock")
_held: list[int] = []  # descriptors of the locks of this process, which end with it


@contextlib.contextmanager
def segment_names() -> Iterator[str | None]:
    """Yields the prefix for the names of one pipeline's segments; at the end removes those left.

    Segments of dead processes are removed too. None where segments are not files (macOS).
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
            # The tracker warns at exit of what was not unregistered, and prints a traceback
            # for a name that it does not know: the worker may have died before it registered it.
            resource_tracker.register(f"/{path.name}", "shared_memory")
            resource_tracker.unregister(f"/{path.name}", "shared_memory")


def use_prefix(prefix: str) -> None:
    """Names the segments that this process makes; called in a data worker."""
    _hold(FOLDER / f"{prefix.rpartition('-')[0]}.lock")
    shared_memory._make_filename = lambda: f"/{prefix}-{secrets.token_hex(4)}"


def _start_tracker() -> None:
    """Starts Python's tracker of shared memory, so that a closed terminal does not end it."""
    # It ignores SIGINT and SIGTERM by itself, and keeps the mask that it is started with.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def _claim_token() -> str | None:
    """Returns the prefix of all names of this process; None where segments are not files."""
    if not (FOLDER.is_dir() and os.access(FOLDER, os.W_OK)):
        return None
    _remove_dead()
    token = f"fcnjax-{secrets.token_hex(4)}"
    try:
        _hold(FOLDER / f"{token}.lock")
    except OSError:  # full
        return None
    # The semaphores of the queues between the processes are files there as well.
    multiprocessing.current_process()._config["semprefix"] = f"/{token}"
    # A segment without a name is freed with its last user, however that ends. (Grain removes the
    # name when the array is deleted, which an exception or the end of the process may prevent.)
    SharedMemoryArray.unlink_on_del = lambda array: array.shm.unlink()
    # After the finalizers of the semaphores, whose priority is 0.
    util.Finalize(None, _release, args=(token, os.getpid()), exitpriority=-1)
    return token


def _hold(marker: Path) -> None:
    file = open_locked(marker, shared=True)
    if file is not None:
        with file:
            _held.append(os.dup(file.fileno()))


def _release(token: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a fork of it
        with contextlib.suppress(OSError):
            (FOLDER / f"{token}.lock").unlink()


def _remove_dead() -> None:
    """Removes the segments and semaphores whose processes are all dead."""
    for marker in FOLDER.glob("fcnjax-*.lock"):
        named = _MARKER.fullmatch(marker.name)
        # Another user's may not be opened or removed.
        with contextlib.suppress(OSError):
            if named and (file := open_locked(marker)) is not None:
                with file:
                    for name in (f"{named[1]}-*", f"sem.{named[1]}-*"):
                        for path in FOLDER.glob(name):
                            path.unlink(missing_ok=True)
                    marker.unlink(missing_ok=True)
