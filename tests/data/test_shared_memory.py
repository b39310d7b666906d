"""Shared memory of data workers that are killed."""

import contextlib
import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from fcnjax import data
from fcnjax.config import load_config
from fcnjax.data.loading import pipeline, workers
from fcnjax.errors import UserError

pytestmark = pytest.mark.skipif(not workers.SHARED_FOLDER.is_dir(), reason="segments are no files")

OWNER = """
import time
from multiprocessing.shared_memory import SharedMemory
from fcnjax.data.loading import workers
with workers.segment_names() as prefix:
    workers.use_prefix(prefix)
    segment = SharedMemory(create=True, size=1000)
    print(segment.name, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def owner():
    """Start a process with a segment, in its own group; yield it and the segment's file."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        name = process.stdout.readline().strip()
        assert re.fullmatch(r"fcnjax-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", name)
        yield process, workers.SHARED_FOLDER / name
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_only_segments_of_killed_processes_are_removed():
    foreign = workers.SHARED_FOLDER / f"psm_{os.getpid()}"
    foreign.write_bytes(b"another program's")
    try:
        with owner() as (dead, lost), owner() as (_, used):
            os.killpg(dead.pid, signal.SIGKILL)
            dead.wait()
            assert lost.exists()
            workers._remove_dead()
            token = lost.name[: len("fcnjax-") + 8]
            assert not list(workers.SHARED_FOLDER.glob(f"*{token}*"))
            assert used.exists()
            assert foreign.exists()
        workers._remove_dead()
        assert not used.exists()
    finally:
        foreign.unlink()


def test_killed_worker_raises_and_leaves_no_segments(shapes, tiny_options):
    config = load_config(
        f"folder:root={shapes}", [*tiny_options, "--config.data.loading.workers=2"]
    )
    config, _ = data.resolve(config)
    source = data.open_source(config, "train")
    batches = pipeline.train_batches(source, config, 0)
    next(batches)
    processes = multiprocessing.active_children()
    assert len(processes) == 2
    os.kill(processes[0].pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"a data worker was killed by SIGKILL; the memory"):
        list(batches)
    token = workers._claim_token()
    assert not list(workers.SHARED_FOLDER.glob(f"{token}-*"))


def test_starting_workers_survive_a_signal_to_the_group(shapes, tiny_options):
    config = load_config(
        f"folder:root={shapes}", [*tiny_options, "--config.data.loading.workers=2"]
    )
    config, _ = data.resolve(config)
    signalled = []

    def signal_starting():
        while len(signalled) < 2:
            for worker in multiprocessing.active_children():
                if worker.pid not in signalled:
                    os.kill(worker.pid, signal.SIGTERM)
                    signalled.append(worker.pid)
            time.sleep(0.001)

    threading.Thread(target=signal_starting, daemon=True).start()
    batches = pipeline.train_batches(data.open_source(config, "train"), config, 0)
    with contextlib.closing(batches):
        assert len(list(itertools.islice(batches, 3))) == 3
    assert len(signalled) == 2
