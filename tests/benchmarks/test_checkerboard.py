"""benchmarks/checkerboard.py: the amplitude of a known checkerboard, beside other classes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "checkerboard.py"


def run(folder):
    return subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)


@pytest.mark.parametrize("amplitude", [0.0, 0.25])
def test_amplitude(tmp_path, amplitude):
    log_odds = np.full((41, 50), 2.0)
    log_odds[::2, 1::2] += amplitude
    log_odds[:, 30:] *= -1  # the other class
    log_odds[:, 28:32] /= 9  # pixels near a border of classes are not measured
    positive = 1 / (1 + np.exp(-log_odds))
    np.save(tmp_path / "a_probabilities.npy", np.stack([1 - positive, positive], -1))
    printed = run(tmp_path).stdout
    assert f"range {amplitude:.3f} over 1 images" in printed
    assert ("2.250" in printed) == (amplitude > 0)


def test_empty_folder_is_an_error(tmp_path):
    result = run(tmp_path)
    assert result.returncode == 2
    assert "has no *_probabilities.npy" in result.stderr
