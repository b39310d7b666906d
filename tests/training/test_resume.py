"""A run that is killed and resumed ends bit for bit like an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.state import init_state, init_variables
from fcnjax.training.workdir import load_saved_config
from fcnjax.training.writers.metrics_file import read_metrics

STEPS = 60


def start(root, workdir, options):
    argv = ["train", f"--config=folder:root={root}", f"--workdir={workdir}", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "fcnjax", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "FCNJAX_CACHE": str(root.parent / "cache")},
        start_new_session=True,
    )


def finish(process):
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out[-3000:]
    return out


def final_state(workdir):
    config = load_saved_config(workdir)
    model, optimizer = build_model(config), make_optimizer(config)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
        jax.eval_shape(lambda: init_state(init_variables(model, config), optimizer, config)),
    )
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        return jax.device_get(checkpoints.restore(like))
    finally:
        checkpoints.close()


def losses(workdir):
    return [(line["step"], line["loss"]) for line in read_metrics(workdir)]


def children(pid):
    """Return the processes that `pid` started, such as Grain's workers."""
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listing.stdout.split()]


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition, seconds, process):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        time.sleep(0.002)
    return False


def saving(workdir):
    """Return whether Orbax's temporary folder exists, so that a save is in progress."""
    folder = workdir / "checkpoints"
    return folder.is_dir() and any("tmp" in path.name for path in folder.iterdir())


def logged(workdir, step):
    file = workdir / "metrics.jsonl"
    return file.is_file() and f'"step": {step}' in file.read_text()


@pytest.fixture(scope="module")
def options(tiny_options):
    return [
        *tiny_options,
        "--config.data.loading.workers=1",
        "--config.optim.ema_decay=0.99",
        "--config.train.log_every=2",
        "--config.train.save_every=6",
        "--config.model.dropout=0.1",
        f"--config.train.steps={STEPS}",
    ]


@pytest.fixture(scope="module")
def alone(shapes, options, write_once):
    """An undisturbed run; the batches do not depend on the data workers, so it needs none."""
    options = [*options, "--config.data.loading.workers=0"]
    return write_once("undisturbed", lambda workdir: finish(start(shapes, workdir, options)))


def kill_and_check(shapes, workdir, options, condition, seconds=120):
    process = start(shapes, workdir, options)
    reached = wait_for(condition, seconds, process)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 30
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in workers), "data workers outlived the killed run"
    return reached


def check_same(workdir, alone, steps=STEPS):
    (state, progress), (expected, expected_progress) = final_state(workdir), final_state(alone)
    assert progress == expected_progress == {"batches": steps}
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert losses(workdir) == losses(alone)
    assert (workdir / "metrics.json").read_text() == (alone / "metrics.json").read_text()


@pytest.mark.slow  # the next test is the same with a dataset that moves
def test_run_killed_once_is_resumed_exactly(shapes, options, alone, tmp_path):
    workdir = tmp_path / "killed"
    assert kill_and_check(shapes, workdir, options, lambda: logged(workdir, 20))
    assert "resuming at step" in finish(start(shapes, workdir, options))
    check_same(workdir, alone)


def test_killed_run_is_resumed_exactly_on_a_dataset_that_moved_and_grew(
    shapes, options, alone, tmp_path
):
    # The run keeps its split, so new images change nothing.
    before, after, workdir = tmp_path / "before", tmp_path / "after", tmp_path / "killed"
    shutil.copytree(shapes, before)
    assert kill_and_check(before, workdir, options, lambda: logged(workdir, 20))
    shutil.copytree(before, after, copy_function=shutil.copy)  # does not preserve times
    shutil.rmtree(before)
    for folder, end in (("images", "jpg"), ("masks", "png")):
        for name in ("a", "picture04b", "z"):
            shutil.copy(after / folder / f"picture01.{end}", after / folder / f"{name}.{end}")
    out = finish(start(after, workdir, options))
    assert "3 new images (images/a.jpg, images/picture04b.jpg, images/z.jpg) are not used" in out
    assert "resuming at step" in out
    check_same(workdir, alone)


def test_sigterm_to_the_process_group_saves_while_data_workers_are_busy(
    shapes, options, alone, tmp_path
):
    # As SLURM sends it: to the data workers, too, whose batches the last step needs.
    workdir = tmp_path / "stopped"
    process = start(shapes, workdir, options)
    assert wait_for(lambda: logged(workdir, 10), 120, process)
    os.killpg(process.pid, signal.SIGTERM)
    requeued = start(shapes, workdir, options)  # while the first process saves
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, out[-3000:]
    assert "stopped by SIGTERM at step" in out
    assert "leaked" not in out
    assert "resuming at step" in finish(requeued)
    check_same(workdir, alone)


@pytest.mark.slow
def test_run_killed_ten_times_is_resumed_exactly(shapes, options, tmp_path):
    # The run is alive at each kill: during a save, at the start, and during steps.
    options = [*options, "--config.train.steps=600", "--config.data.loading.workers=2"]
    alone, workdir = tmp_path / "alone", tmp_path / "killed"
    finish(start(shapes, alone, options))
    rng = random.Random(0)

    def after(seconds):
        end = time.monotonic() + seconds
        return lambda: time.monotonic() > end

    def stepping(seconds):
        """So long after the run has logged something new."""
        lines, end = len(losses(workdir)), []

        def reached():
            if not end and len(losses(workdir)) != lines:
                end.append(time.monotonic() + seconds)
            return bool(end) and time.monotonic() > end[0]

        return reached

    moments = [lambda: logged(workdir, 8), lambda: saving(workdir)]
    for condition in moments:
        assert kill_and_check(shapes, workdir, options, condition)
    for _ in range(2):
        assert kill_and_check(shapes, workdir, options, after(rng.uniform(0.5, 5)))
    for _ in range(6):
        assert kill_and_check(shapes, workdir, options, stepping(rng.uniform(0, 1)))
    assert losses(workdir)[-1][0] < 600
    finish(start(shapes, workdir, options))
    check_same(workdir, alone, 600)
