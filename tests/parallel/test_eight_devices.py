"""Run tests on eight CPU devices, which must be requested before JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("eight_devices_mesh", "not slow"),
        ("eight_devices", "not slow"),
        ("eight_devices_plan", "not slow"),
        pytest.param("eight_devices_mesh", "slow", marks=pytest.mark.slow),
        pytest.param("eight_devices", "slow", marks=pytest.mark.slow),
    ],
)
def test_eight_devices(name, marked):
    """Run a file on eight CPU devices, which must be requested before JAX starts."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    cases = Path(__file__).with_name(f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marked, str(cases)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
