"""A short run of `benchmarks/kills.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_training_killed_four_times_ends_bit_identical():
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "kills.py")]
    options = ["--kills=4", "--full-disks=1", "--steps=150", "--seed=1"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "bit-identical; nothing left" in done.stdout
