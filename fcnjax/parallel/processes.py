"""Processes of a distributed job: find each other, join, compare their inputs, and end together."""

import argparse
import contextlib
import os
import re
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from fcnjax.config import flatten
from fcnjax.errors import UserError

HEARTBEAT_TIMEOUT_S = 30
FIRST_PORT, PORTS = 61440, 4096  # the default port is one of these, chosen by the job's number
# Errors of this text mean that another process was lost.
PROCESS_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset)|socket closed|coordination|heartbeat", re.I
)


@dataclass(frozen=True)
class ProcessInfo:
    """A process of a distributed job.

    Attributes:
        coordinator: `HOST:PORT` of process 0; None if JAX detects the processes (Cloud TPU).
        count: Number of processes.
        index: Index of this process.
        local_devices: Local ids of its accelerators, if processes of its host share them.
    """

    coordinator: str | None
    count: int | None = None
    index: int | None = None
    local_devices: tuple[int, ...] | None = None


def find_process_info(args: argparse.Namespace, environ: Mapping[str, str]) -> ProcessInfo | None:
    """Return the place of this process in a distributed job; None if it is the only one.

    Raises:
        UserError: The arguments or environment variables are incomplete.
    """
    options = {
        "--coordinator": args.coordinator or environ.get("FCNJAX_COORDINATOR"),
        "--processes": args.processes or environ.get("FCNJAX_PROCESSES"),
        "--process": args.process or environ.get("FCNJAX_PROCESS"),
    }
    if options["--coordinator"] == "auto":
        return ProcessInfo(None)
    if any(value is not None for value in options.values()):
        return _from_options(options)
    if int(environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environ:
        return _from_slurm(environ)
    if int(environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return _from_open_mpi(environ)
    if "," in environ.get("TPU_WORKER_HOSTNAMES", ""):
        return ProcessInfo(None)
    return None


def _from_options(options: Mapping[str, str | None]) -> ProcessInfo | None:
    for name, value in options.items():
        if value is None:
            variable = "FCNJAX_" + name[2:].upper()
            raise UserError(f"{name}: is missing beside the others; or set {variable}")
    coordinator = options["--coordinator"]
    count = _parse_int("--processes", options["--processes"], 1)
    index = _parse_int("--process", options["--process"], 0)
    if index >= count:
        raise UserError(f"--process: {index} is not below --processes, {count}")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator: {coordinator!r} is not HOST:PORT")
    return ProcessInfo(coordinator, count, index) if count > 1 else None


def _parse_int(name: str, text: str, minimum: int) -> int:
    if not text.isdecimal() or int(text) < minimum:
        raise UserError(f"{name}: {text!r} is not a whole number of at least {minimum}")
    return int(text)


def _from_slurm(environ: Mapping[str, str]) -> ProcessInfo:
    nodes = environ.get("SLURM_STEP_NODELIST", environ.get("SLURM_JOB_NODELIST", ""))
    # The first node of `node[003-007,9]-ib,other` is `node003-ib`.
    match = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if not match:
        raise UserError(f"SLURM_STEP_NODELIST: {nodes!r} names no host; start it with srun")
    port = FIRST_PORT + int(environ.get("SLURM_JOB_ID", 0)) % PORTS
    # For `2(x3),1` the first three hosts run two tasks each, which share the accelerators.
    shared = environ.get("SLURM_STEP_TASKS_PER_NODE", "1")[:1] != "1"
    return ProcessInfo(
        f"{''.join(part or '' for part in match.groups())}:{port}",
        int(environ["SLURM_NTASKS"]),
        int(environ["SLURM_PROCID"]),
        (int(environ["SLURM_LOCALID"]),) if shared else None,
    )


def _from_open_mpi(environ: Mapping[str, str]) -> ProcessInfo:
    count = int(environ["OMPI_COMM_WORLD_SIZE"])
    if environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") != str(count):
        raise UserError(
            "--coordinator: mpirun over several hosts does not tell the address of process 0; give "
            "--coordinator=HOST:PORT --processes=$OMPI_COMM_WORLD_SIZE "
            "--process=$OMPI_COMM_WORLD_RANK"
        )
    # All processes are children of the same mpirun.
    coordinator = f"127.0.0.1:{FIRST_PORT + os.getppid() % PORTS}"
    device = int(environ["OMPI_COMM_WORLD_LOCAL_RANK"])
    return ProcessInfo(coordinator, count, int(environ["OMPI_COMM_WORLD_RANK"]), (device,))


@contextlib.contextmanager
def distributed_context(args: argparse.Namespace) -> Iterator[None]:
    """Join the other processes of a job, if there are any, before JAX is used.

    Any error, including the loss of another process, then ends this process at once with a one-line
    message. The others, which wait for it, end as well.

    Raises:
        UserError: The arguments or environment variables are incomplete.
    """
    info = find_process_info(args, os.environ)
    if info is None:
        yield
        return
    try:
        join(info, _parse_int("--join-timeout", args.join_timeout, 1))
        yield
    except UserError as error:
        _end(f"error: {error}", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        if not PROCESS_LOST.search(str(error)):
            traceback.print_exc()
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        _end(
            f"error: process {jax.process_index()} of {jax.process_count()} ends: another process "
            f"was lost, or this one failed ({reason[:200]}); start all of them again with the same "
            "command to continue from the newest checkpoint",
            1,
        )
    jax.distributed.shutdown()


def _end(message: str, code: int) -> None:
    """End the process without waiting for the others, as JAX would do at its exit."""
    print(f"fcnjax: {message}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def join(info: ProcessInfo, timeout: int) -> None:
    """Wait until all processes have joined, and end this one after `timeout` seconds.

    Raises:
        UserError: JAX does not find the others, or the port is in use.
    """
    name = f"process {info.index} of {info.count}" if info.count else "a process"
    address = f" at {info.coordinator}" if info.coordinator else ""
    message = (
        f"error: --join-timeout: {name} waited {timeout} s, and not all joined{address}; is each "
        "started with the same number of processes, and is the port open between them?"
    )
    # JAX would end the process with a C++ stack trace instead of an error.
    timer = threading.Timer(timeout, _end, (message, 2))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            info.coordinator,
            info.count,
            info.index,
            local_device_ids=info.local_devices,
            cluster_detection_method=None if info.coordinator is None else "deactivate",
            initialization_timeout=timeout + 60,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"--coordinator: {name} cannot join the others{address}: {reason}"
        ) from error
    finally:
        timer.cancel()


def check_same_command(config: ConfigDict, workdir: str) -> None:
    """Raise UserError unless all processes have the same config and workdir."""
    values = {f"config.{key}": value for key, value in flatten(config).items()}
    check_same({**values, "--workdir": workdir})


def check_same(values: Mapping[str, Any]) -> None:
    """Compare values over all processes, which all call this with the same keys.

    Raises:
        UserError: A process has another value than process 0; names the key.
    """
    if jax.process_count() == 1:
        return
    hashes = [zlib.crc32(repr(value).encode()) for _, value in sorted(values.items())]
    gathered = multihost_utils.process_allgather(np.asarray(hashes, np.uint32))
    different = np.argwhere(gathered != gathered[0])
    if len(different):
        process, column = map(int, different[0])
        key = sorted(values)[column]
        raise UserError(
            f"{key}: process {process} has another value than process 0 (here it is "
            f"{values[key]!r}); start all with the same command"
        )


def broadcast_from_primary(function: Callable[[], int]) -> int:
    """Call a function on process 0 only, and return its result on every process."""
    if jax.process_count() == 1:
        return function()
    result = function() if jax.process_index() == 0 else 0
    return int(multihost_utils.broadcast_one_to_all(np.int64(result)))


def reached_preemption(step: int) -> bool:
    """Return whether a process received SIGTERM and all processes should stop after this step.

    All processes call it after each step.
    """
    return multihost_utils.reached_preemption_sync_point(step)
