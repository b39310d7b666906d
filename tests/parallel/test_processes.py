"""Several processes on loopback that train and evaluate as one."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.parallel.processes import ProcessInfo, find_process_info

STEPS = 12
OPTIONS = (
    "--config.model.widths=8,16",
    "--config.augment.crop=32,32",
    "--config.train.batch_size=8",
    f"--config.train.steps={STEPS}",
    "--config.train.log_every=2",
    "--config.train.save_every=4",
    "--config.train.tensorboard=false",
    "--config.optim.warmup_steps=2",
    "--config.eval.bucket=16",
    "--config.eval.batch_size=4",
    "--config.plan.minutes=0",
    # Three images: not a multiple of any number of processes.
    "--config.data.split.eval_fraction=0.3",
    "--config.data.check=false",
)


def free_port():
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


def start(command, options, count=1, environ=None, only=None):
    """Start the processes of a command; `only` lists the indices to start."""
    address, started = f"127.0.0.1:{free_port()}", []
    for index in range(count):
        if only is not None and index not in only:
            continue
        hosts = [f"--coordinator={address}", f"--processes={count}", f"--process={index}"]
        variables = environ(index) if environ else {}
        words = [command, *options, *(hosts if count > 1 and not variables else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "fcnjax", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
        )
        started.append(process)
    return started


def end(processes, timeout=240):
    """Wait for the processes; return their outputs and exit codes."""
    texts = [process.communicate(timeout=timeout)[0] for process in processes]
    return texts, [process.returncode for process in processes]


def train(folder, workdir, count=1, options=(), **selection):
    words = [f"--config=folder:root={folder}", f"--workdir={workdir}", *OPTIONS, *options]
    return start("train", words, count, **selection)


def arrays(workdir):
    """Return the step and the arrays of the newest checkpoint."""
    from fcnjax.inference import load_variables

    _, _, variables, step = load_variables(workdir, "latest")
    import jax

    return step, [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]


def confusion(folder):
    return np.asarray(json.loads((folder / "metrics.json").read_text())["confusion"])


def wait_for(path, process, seconds=200):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


@pytest.fixture(scope="module")
def run_of_two(shapes, write_once):
    """An undisturbed run of two processes."""

    def write(workdir):
        texts, codes = end(train(shapes, workdir, 2))
        assert codes == [0, 0], texts
        # Only process 0 prints.
        assert "2 x cpu" in texts[0]
        assert "step" not in texts[1]

    return write_once("two_processes", write)


def test_two_processes_train_like_one(shapes, run_of_two, tmp_path):
    texts, codes = end(train(shapes, tmp_path / "alone"))
    assert codes == [0], texts
    step, alone = arrays(tmp_path / "alone")
    assert step == STEPS
    for one, other in zip(alone, arrays(run_of_two)[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)
    # Two processes count each image once, too.
    assert confusion(run_of_two).sum() == confusion(tmp_path / "alone").sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "mesh"), [(4, "data=4"), (2, "fsdp=2"), (2, "spatial=2"), (4, "spatial=2")]
)
def test_run_on_a_shared_mesh_continues_on_one_process(shapes, run_of_two, tmp_path, count, mesh):
    options = [f"--config.mesh.{mesh}"]
    texts, codes = end(train(shapes, tmp_path / "run", count, options))
    assert codes == [0] * count, texts
    for one, other in zip(arrays(run_of_two)[1], arrays(tmp_path / "run")[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)
    assert confusion(run_of_two).sum() == confusion(tmp_path / "run").sum()
    more = ["--config.train.steps=14", "--config.optim.schedule=cosine"]
    texts, codes = end(train(shapes, tmp_path / "run", 1, more))
    assert codes == [0], texts
    assert "resuming at step 12" in texts[0]


def test_two_processes_under_slurm_evaluate_exactly(run_of_two, tmp_path):
    def environ(index):
        return {**SLURM, **ids, "SLURM_PROCID": str(index)}

    ids = {"SLURM_JOB_ID": str(free_port()), "SLURM_NTASKS": "2"}
    ids["SLURM_STEP_NODELIST"] = "127.0.0.1"
    for count in (1, 2):
        options = [f"--model={run_of_two}", f"--out={tmp_path / str(count)}"]
        options += ["--config.eval.metrics=hausdorff95,calibration_error"]
        texts, codes = end(start("evaluate", options, count, environ if count > 1 else None))
        assert codes == [0] * count, texts
        assert f"step {STEPS}: " in texts[0]  # printed only by process 0
        assert "step" not in "".join(texts[1:])
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("1", "2"))
    losses = [each["metrics"].pop("loss") for each in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert one == two  # boundary and histogram metrics, too
    assert one["metrics"]["mean_hausdorff95"] > 0


def test_lost_process_ends_the_others_and_the_job_resumes(shapes, run_of_two, tmp_path):
    first, second = train(shapes, tmp_path / "run", 2)
    wait_for(tmp_path / "run/checkpoints/4/manifest.json", first)
    second.kill()
    start_time = time.monotonic()
    (text, _), codes = end([first, second])
    assert time.monotonic() - start_time < 60
    assert codes[0] != 0
    assert "another process was lost" in text or "another task died" in text
    texts, codes = end(train(shapes, tmp_path / "run", 2))
    assert codes == [0, 0], texts
    assert re.search(r"resuming at step (4|8)\b", texts[0])
    for one, other in zip(arrays(run_of_two)[1], arrays(tmp_path / "run")[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_processes_save_and_end_if_one_receives_sigterm(shapes, run_of_two, tmp_path):
    processes = train(shapes, tmp_path / "run", 2, ["--config.train.steps=4000"])
    wait_for(tmp_path / "run/checkpoints/4/manifest.json", processes[0])
    processes[1].send_signal(signal.SIGTERM)
    texts, codes = end(processes)
    assert codes == [143, 143], texts
    step = int(re.search(r"stopped by SIGTERM at step (\d+); the checkpoint is saved", texts[0])[1])
    assert (tmp_path / f"run/checkpoints/{step}/manifest.json").exists()


def test_different_configs_are_an_error_with_the_key(shapes, tmp_path):
    address = f"127.0.0.1:{free_port()}"

    def environ(index):
        return {
            "FCNJAX_COORDINATOR": address,
            "FCNJAX_PROCESSES": "2",
            "FCNJAX_PROCESS": str(index),
        }

    one = train(shapes, tmp_path / "run", 2, environ=environ, only=[0])
    two = train(shapes, tmp_path / "run", 2, ["--config.optim.lr=0.5"], environ=environ, only=[1])
    texts, codes = end([*one, *two])
    assert codes == [2, 2]
    for text in texts:
        assert "error: config.optim.lr: process 1 has another value than process 0" in text


def test_process_that_never_joins_is_an_error(shapes, tmp_path):
    processes = train(shapes, tmp_path / "run", 2, ["--join-timeout=3"], only=[0])
    (text,), codes = end(processes)
    assert codes == [2]
    line = next(line for line in text.splitlines() if "error" in line)
    assert "--join-timeout: process 0 of 2 waited 3 s, and not all joined at 127.0.0.1:" in line


def test_missing_cluster_is_a_one_line_error(shapes, tmp_path):
    def environ(index):
        return {"FCNJAX_COORDINATOR": "auto"}

    (text,), codes = end(train(shapes, tmp_path / "run", environ=environ))
    assert codes == [2]
    (line,) = text.splitlines()
    assert line.startswith("fcnjax: error: --coordinator: a process cannot join the others: ")


SLURM = {
    "SLURM_JOB_ID": "70001",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "node[003-006],gpu1",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
}
MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}


def find(environ, **flags):
    keys = ("coordinator", "processes", "process")
    return find_process_info(argparse.Namespace(**{**dict.fromkeys(keys), **flags}), environ)


@pytest.mark.parametrize(
    ("nodes", "tasks", "host", "devices"),
    [
        ("node[003-006],gpu1", "1(x4)", "node003", None),
        ("gpu1,gpu2", "2(x2)", "gpu1", (0,)),
        ("rack[7,9]-ib", "1(x2)", "rack7-ib", None),
        ("one", "4", "one", (0,)),
    ],
)
def test_slurm_environment(nodes, tasks, host, devices):
    environ = {**SLURM, "SLURM_STEP_NODELIST": nodes, "SLURM_STEP_TASKS_PER_NODE": tasks}
    assert find(environ) == ProcessInfo(f"{host}:{61440 + 70001 % 4096}", 4, 2, devices)


def test_single_slurm_task_is_not_distributed():
    assert find({**SLURM, "SLURM_NTASKS": "1"}) is None
    # In salloc, but not started by srun.
    assert find({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}) is None


def test_open_mpi_environment():
    info = find(MPI)
    assert (info.count, info.index, info.local_devices) == (2, 1, (1,))
    assert info.coordinator.startswith("127.0.0.1:")
    with pytest.raises(UserError, match="--coordinator: mpirun over several hosts"):
        find({**MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "1"})


def test_cloud_tpu_environment():
    assert find({"TPU_WORKER_HOSTNAMES": "a,b"}) == ProcessInfo(None)
    assert find({"TPU_WORKER_HOSTNAMES": "localhost"}) is None
    assert find({"FCNJAX_COORDINATOR": "auto"}) == ProcessInfo(None)


def test_flags_take_precedence_and_must_be_complete():
    assert find(SLURM, coordinator="h:1", processes="3", process="1") == ProcessInfo("h:1", 3, 1)
    assert find({}, coordinator="h:1", processes="1", process="0") is None
    for flags, words in (
        ({"coordinator": "h:1"}, "--processes: is missing beside the others"),
        ({"coordinator": "h", "processes": "2", "process": "0"}, "'h' is not HOST:PORT"),
        ({"coordinator": "h:1", "processes": "2", "process": "2"}, "2 is not below --processes"),
        (
            {"coordinator": "h:1", "processes": "two", "process": "2"},
            "'two' is not a whole number",
        ),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            find({}, **flags)
