"""Worker processes that read training batches, started by Grain and ended with their parent.

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
import threading
from collections.abc import Collection, Iterator
from multiprocessing import resource_tracker, shared_memory, util
from pathlib import Path

import grain
import numpy as np
from absl import flags
from grain.multiprocessing import SharedMemoryArray

from fcnjax.errors import UserError
from fcnjax.io.lock_file import open_locked

GRACE_S = 20.0  # time that a worker keeps running after SIGTERM
_EXIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILLED = re.compile(r"Worker process was terminated unexpectedly with exit code (-?\d+)")
SHARED_FOLDER = Path("/dev/shm")
_LOCK_NAME = re.compile(r"(fcnjax-[0-9a-f]{8})\.lock")
_lock_files: list[int] = []  # descriptors of this process's locks; the kernel closes them


def worker_batches(stream: "grain.IterDataset", count: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the batches of a stream, read by `count` worker processes.

    Raises:
        UserError: A worker was killed, or cannot read a file.
    """
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's workers require parsed absl flags
    options = grain.MultiprocessingOptions(num_workers=count)
    with segment_names() as prefix:
        start = functools.partial(_start_worker, prefix)
        stream = stream.mp_prefetch(options, worker_init_fn=start)
        with contextlib.closing(iter(stream)) as iterator:
            with _blocked_signals(_EXIT_SIGNALS):  # the workers start with the first batch
                batch = _next(iterator)
            while True:
                yield batch
                batch = _next(iterator)


@contextlib.contextmanager
def _blocked_signals(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Block signals in this process and in those that it starts within the block.

    A worker unblocks exit signals once its handlers are installed; an earlier signal would end it.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _next(iterator: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    try:
        return next(iterator)
    except RuntimeError as error:
        # Grain raises no specific class for a killed worker.
        if killed := _KILLED.search(str(error)):
            raise _killed_worker(int(killed[1])) from error
        raise


def _killed_worker(exit_code: int) -> UserError:
    """Return the error for a data worker that ended with an exit code; -9 is SIGKILL."""
    names = {number.value: number.name for number in signal.Signals}
    end = f"was killed by {names[-exit_code]}" if -exit_code in names else f"ended ({exit_code})"
    reason = {
        -signal.SIGKILL: "; the memory of this machine or container may have run out: try fewer "
        "config.data.loading.workers",
        -signal.SIGBUS: f"; {SHARED_FOLDER} may be full: enlarge it (`docker run "
        "--shm-size=8g`), or try fewer config.data.loading.workers",
    }
    return UserError(f"config.data.loading.workers: a data worker {end}{reason.get(exit_code, '')}")


def _start_worker(prefix: str | None, index: int, count: int) -> None:
    """Make a worker leave signals to its parent, and exit when the parent dies.

    Ctrl-C, a closed terminal and SLURM's SIGTERM reach the whole process group, but the parent
    needs batches until it has saved its state. A worker that is not closed exits after `GRACE_S`.
    """
    del index, count
    if prefix is not None:
        use_prefix(prefix)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def exit_later(number: int, frame: object) -> None:
        timer = threading.Timer(GRACE_S, os._exit, (1,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, exit_later)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _EXIT_SIGNALS)

    def exit_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


@contextlib.contextmanager
def segment_names() -> Iterator[str | None]:
    """Yield a name prefix for the segments of one pipeline; at the end remove those that remain.

    Segments of dead processes are removed too. Yields None where segments are not files (macOS).
    """
    # Python's resource tracker survives the terminal with SIGHUP blocked. It ignores SIGINT and
    # SIGTERM by itself, and inherits the signal mask.
    with _blocked_signals({signal.SIGHUP}):
        resource_tracker.ensure_running()
    token = _claim_token()
    if token is None:
        yield None
        return
    prefix = f"{token}-{secrets.token_hex(4)}"
    try:
        yield prefix
    finally:
        for path in SHARED_FOLDER.glob(f"{prefix}-*"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            # The tracker warns at exit about segments that were not unregistered, and prints a
            # traceback for an unknown name: the worker may have died before it registered it.
            resource_tracker.register(f"/{path.name}", "shared_memory")
            resource_tracker.unregister(f"/{path.name}", "shared_memory")


def use_prefix(prefix: str) -> None:
    """Set the name prefix of the segments that this process makes; called in a data worker."""
    _keep_lock(SHARED_FOLDER / f"{prefix.rpartition('-')[0]}.lock")
    shared_memory._make_filename = lambda: f"/{prefix}-{secrets.token_hex(4)}"


@functools.cache
def _claim_token() -> str | None:
    """Return the name prefix of this process; None where segments are not files."""
    if not (SHARED_FOLDER.is_dir() and os.access(SHARED_FOLDER, os.W_OK)):
        return None
    _remove_dead()
    token = f"fcnjax-{secrets.token_hex(4)}"
    try:
        _keep_lock(SHARED_FOLDER / f"{token}.lock")
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
            (SHARED_FOLDER / f"{token}.lock").unlink()


def _remove_dead() -> None:
    """Remove the segments and semaphores of dead processes."""
    for lock_path in SHARED_FOLDER.glob("fcnjax-*.lock"):
        match = _LOCK_NAME.fullmatch(lock_path.name)
        # Files of other users cannot be opened or removed.
        with contextlib.suppress(OSError):
            if match and (file := open_locked(lock_path)) is not None:
                with file:
                    for pattern in (f"{match[1]}-*", f"sem.{match[1]}-*"):
                        for path in SHARED_FOLDER.glob(pattern):
                            path.unlink(missing_ok=True)
                    lock_path.unlink(missing_ok=True)
