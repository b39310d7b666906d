"""launch/ray_job.py: its options and errors without Ray, and with Ray a job of two workers."""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "launch/ray_job.py"
WORDS = ["--config=a", "--workdir=b"]


def ray_job(*words, folder=ROOT, timeout=60, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("ray_job", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scaling_of(module, *words):
    return module.plan(module.parse([*words, *WORDS])[0])


def test_dry_run_prints_the_command_of_a_worker(odd):
    done = ray_job("--workers=2", "--dry-run", *odd)
    assert (done.returncode, done.stderr) == (0, "")
    # Everything but the comments can be pasted.
    assert shlex.split(done.stdout, comments=True) == ["fcnjax", "train", *odd]
    assert "FCNJAX_PROCESSES=2" in done.stdout


def test_help_is_the_docstring(module):
    done = ray_job("--help")
    assert done.returncode == 0
    assert "Usage: python launch/ray_job.py" in done.stdout
    assert "--topology" in done.stdout


def test_scaling(module):
    assert scaling_of(module, "--workers=3") == {
        "num_workers": 3,
        "use_gpu": False,
        "resources_per_worker": {"CPU": 1},
    }
    assert scaling_of(module, "--workers=2", "--gpus-per-worker=8", "--cpus-per-worker=16") == {
        "num_workers": 2,
        "use_gpu": True,
        "resources_per_worker": {"CPU": 16, "GPU": 8},
    }
    assert scaling_of(module, "--topology=v5e:4x4") == {
        "num_workers": 4,
        "use_tpu": True,
        "topology": "4x4",
        "accelerator_type": "TPU-V5LITEPOD",
        "resources_per_worker": {"CPU": 1, "TPU": 4},
    }
    assert scaling_of(module, "--topology=v6e:2x4")["num_workers"] == 1
    assert scaling_of(module, "--topology=v5p:2x2x4")["num_workers"] == 4


def test_arguments_pass_through_unchanged(module):
    words = ["--config", "a", "--workdir=b", "--config.train.steps=5", "--processes=2"]
    options, rest = module.parse(["--workers=2", *words])
    assert rest == words
    assert module.value_of("--config", rest) == "a"
    assert module.value_of("--workdir", rest) == "b"
    assert options.workers == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "--config"),
        (["--config=a"], "--workdir"),
        ([*WORDS, "--workers=0"], "--workers"),
        ([*WORDS, "--gpus-per-worker=-1"], "--gpus-per-worker"),
        ([*WORDS, "--topology=4x4"], "'4x4'"),
        ([*WORDS, "--topology=v9:4x4"], "v5e"),
        ([*WORDS, "--topology=v5e:4x4", "--workers=3"], "4 hosts"),
        ([*WORDS, "--topology=v5e:4x4", "--gpus-per-worker=1"], "one of them"),
    ],
)
def test_errors_are_one_line(module, capsys, words, part):
    with pytest.raises(SystemExit) as stop:
        module.main([*words, "--dry-run"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ray_job: error: ")
    assert part in line


def test_error_without_ray_names_the_extra(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as stop:
        module.main(WORDS)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'fcnjax[ray]'" in line


@pytest.fixture
def ray_words(shapes, tiny_options):
    """Arguments of a short job of two workers, each with one device."""
    pytest.importorskip("ray")
    words = ["--workers=2", f"--config=folder:root={shapes}", "--workdir=runs/ray", *tiny_options]
    return [*words, "--config.train.save_every=10", "--config.train.steps=100"]


def check_trained(folder, output):
    assert "2 x cpu" in output
    metrics = json.loads((folder / "runs/ray/metrics.json").read_text())
    assert metrics["step"] == 100
    assert metrics["metrics"]["mean_iou"] > 0.8


@pytest.mark.slow
def test_two_workers_train_as_one_job(ray_words, tmp_path):
    done = ray_job(*ray_words, folder=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    check_trained(tmp_path, done.stdout + done.stderr)


@pytest.mark.slow
def test_killed_worker_is_restarted_and_resumes(ray_words, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, SCRIPT, *ray_words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            cwd=tmp_path,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + 300
    while "step  30/100" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    workers = re.findall(r"pid=(\d+)\) world_rank=(\d)", log.read_text())
    os.kill(int(dict(map(reversed, workers))["1"]), signal.SIGKILL)
    assert process.wait(timeout=300) == 0, log.read_text()
    assert "resuming at step" in log.read_text()
    check_trained(tmp_path, log.read_text())


@pytest.mark.slow
def test_user_error_is_not_retried(tmp_path):
    pytest.importorskip("ray")
    words = ["--config=no_such", "--workdir=b"]
    done = ray_job(*words, "--workers=2", folder=tmp_path, timeout=300)
    assert done.returncode == 2
    assert "no_such" in done.stdout + done.stderr
    assert "RETRY" not in done.stdout + done.stderr
