"""Runs on a GPU: a killed one resumes bit for bit, and exhausted memory is a one-line error."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from test_resume import (  # noqa: F401 (`alone` is a fixture)
    STEPS,
    alone,
    check_same,
    finish,
    kill_and_check,
    logged,
    start,
)

from fcnjax import data
from fcnjax.config import load_config

pytestmark = pytest.mark.gpu
LIMIT = 12 * 2**30  # bytes of a process on the CPU; its libraries map a third of them
SHARE = "0.05"  # of a GPU's memory


@pytest.fixture(scope="module")
def options(tiny_options):
    return [
        *tiny_options,
        "--config.train.deterministic=true",
        "--config.data.loading.workers=1",
        "--config.optim.ema_decay=0.99",
        "--config.train.log_every=2",
        "--config.train.save_every=6",
        "--config.model.dropout=0.1",
        f"--config.train.steps={STEPS}",
    ]


def test_killed_run_resumes_bit_for_bit(shapes, options, alone, tmp_path):  # noqa: F811
    workdir = tmp_path / "killed"
    assert kill_and_check(shapes, workdir, options, lambda: logged(workdir, 20))
    assert "resuming at step" in finish(start(shapes, workdir, options))
    check_same(workdir, alone)


def run_with_little_memory(*argv):
    """Return the exit code and the standard error of a command."""
    command = [sys.executable, "-m", "fcnjax", *map(str, argv)]
    if jax.default_backend() == "cpu":
        command = ["bash", "-c", f'ulimit -v {LIMIT // 1024}; exec "$@"', "bash", *command]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ
        | {"XLA_PYTHON_CLIENT_PREALLOCATE": "true", "XLA_PYTHON_CLIENT_MEM_FRACTION": SHARE},
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr


def test_training_that_exceeds_the_memory_names_the_keys(shapes, tiny_options, tmp_path):
    code, error = run_with_little_memory(
        "train",
        f"--config=folder:root={shapes}",
        f"--workdir={tmp_path / 'run'}",
        *tiny_options,
        "--config.model.widths=64,64",
        "--config.augment.crop=2048,2048",
        "--config.train.batch_size=4",
        "--config.train.steps=10",
    )
    assert code == 2, error[-3000:]
    assert "Traceback" not in error
    line = error.strip().splitlines()[-1]
    assert "memory ran out" in line
    assert "config.train.batch_size" in line


def test_image_that_exceeds_the_memory_is_named(shapes, tiny_options, tmp_path, make_run):
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    config.model.widths = (64, 64)
    model = make_run(tmp_path / "run", config)
    image = tmp_path / "large.png"
    Image.fromarray(np.zeros((4096, 4096, 3), np.uint8)).save(image)
    code, error = run_with_little_memory(
        "predict", image, f"--model={model}", f"--out={tmp_path / 'out'}"
    )
    assert code != 0, error
    assert "Traceback" not in error
    assert "large.png: is 4096x4096, which does not fit the device's memory" in error
