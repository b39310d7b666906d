"""Division of a CPU into several devices, on which a batch is computed faster than on one."""

import contextlib
import os

import jax

MOST_DEVICES = 8
_FLAG = "xla_force_host_platform_device_count"


def use_host_devices(batch_size: int) -> None:
    """Divide the cores of a CPU into as many devices as a batch can be divided over.

    One device computes convolutions with all cores, and most other operations with one. The number
    is a power of two of at most `MOST_DEVICES`. Nothing changes if the user set the number, if JAX
    is in use already, or on accelerators.
    """
    if _FLAG in os.environ.get("XLA_FLAGS", "") or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    count = 1
    while 2 * count <= min(_cores(), MOST_DEVICES) and batch_size % (2 * count) == 0:
        count *= 2
    with contextlib.suppress(RuntimeError):  # JAX is in use
        jax.config.update("jax_num_cpu_devices", count)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
