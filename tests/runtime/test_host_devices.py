import subprocess
import sys

import pytest

CODE = """
import os
os.environ.pop("JAX_NUM_CPU_DEVICES", None)
os.environ["XLA_FLAGS"] = {flags!r}
import fcnjax.runtime.host_devices as module
module._cores = lambda: {cores}
module.use_host_devices({batch})
import jax
print(jax.device_count())
module.use_host_devices(1)
"""


@pytest.mark.parametrize(
    ("cores", "batch", "flags", "count"),
    [
        (5, 8, "", 4),
        (2, 3, "", 1),
        (64, 8, "--xla_force_host_platform_device_count=3", 3),
    ],
)
def test_a_batch_is_divided_over_the_cores(cores, batch, flags, count):
    code = CODE.format(cores=cores, batch=batch, flags=flags)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == count
