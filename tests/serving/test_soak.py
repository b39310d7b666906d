"""`benchmarks/soak.py` in short: good, hostile and slow clients at once, and an end under load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_short_soak(workdir, tmp_path):
    out = tmp_path / "soak.json"
    script = Path(__file__).parents[2] / "benchmarks" / "soak.py"
    options = ["--seconds=25", "--sizes=2", "--new-sizes=0", "--receive-seconds=5", "--growth=50"]
    done = subprocess.run(
        [sys.executable, script, f"--workdir={workdir}", f"--out={out}", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    results = json.loads(out.read_text())["results"]
    assert results["faults"] == []
    for kind in ("file 200", "json 200", "infer 200", "hostile 400", "slow cut off"):
        assert results["counts"][kind] > 0
