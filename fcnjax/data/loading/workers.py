"""Worker processes that read training batches, started by Grain and ended with their parent."""

import contextlib
import functools
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from fcnjax.data.loading import shared_memory
from fcnjax.errors import UserError

GRACE_S = 20.0  # time that a worker keeps running after SIGTERM
_EXIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILLED = re.compile(r"Worker process was terminated unexpectedly with exit code (-?\d+)")


def worker_batches(stream: "grain.IterDataset", count: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the batches of a stream, read by `count` worker processes.

    Raises:
        UserError: A worker was killed, or cannot read a file.
    """
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's workers require parsed absl flags
    options = grain.MultiprocessingOptions(num_workers=count)
    with shared_memory.segment_names() as prefix:
        start = functools.partial(_start_worker, prefix)
        stream = stream.mp_prefetch(options, worker_init_fn=start)
        with contextlib.closing(iter(stream)) as iterator:
            with _blocked_signals():  # the workers start with the first batch
                batch = _next(iterator)
            while True:
                yield batch
                batch = _next(iterator)


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block exit signals in this process and in those that it starts within the block.

    A worker unblocks them once its handlers are installed; an earlier signal would end it.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _EXIT_SIGNALS)
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
        -signal.SIGBUS: f"; {shared_memory.FOLDER} may be full: enlarge it (`docker run "
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
        shared_memory.use_prefix(prefix)
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
