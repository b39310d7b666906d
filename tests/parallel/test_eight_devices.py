"""Run tests on eight CPU devices, which must be requested before JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from xla_flags import NO_FUSION_EMITTERS, is_known


@pytest.mark.parametrize(
    ("name", "marked", "fast"),
    [
        ("eight_devices_mesh", "not slow", True),
        ("eight_devices", "not slow", False),  # compares losses to 1e-4
        ("eight_devices_plan", "not slow", False),
        pytest.param("eight_devices_mesh", "slow", True, marks=pytest.mark.slow),
    ],
)
def test_eight_devices(name, marked, fast):
    """Run a file on eight CPU devices, which must be requested before JAX starts."""
    flags = [os.environ["XLA_FLAGS"], "--xla_force_host_platform_device_count=8"]
    if fast and is_known(NO_FUSION_EMITTERS):
        flags.append(f"--{NO_FUSION_EMITTERS}=false")
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join(flags),
    }
    cases = Path(__file__).with_name(f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marked, str(cases)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
