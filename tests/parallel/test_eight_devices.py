import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["eight_devices", "eight_devices_mesh", "eight_devices_plan"])
def test_eight_devices(name):
    """Run a file on eight CPU devices, which must be requested before JAX starts."""
    env = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
    }
    cases = Path(__file__).with_name(f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
