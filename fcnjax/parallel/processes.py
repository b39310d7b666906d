"""Several processes, on one host or many, that work as one: found, joined, and ended together."""

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

JOIN_S = 300  # for which a process waits for the others at the start
HEARTBEAT_S = 30  # without a sign of life, after which a process counts as lost
FIRST_PORT, PORTS = 61440, 4096  # where no port is said, one of these by the job's number
# Words of an error that says that another process is gone.
LOST = re.compile(r"gloo|nccl|connection (closed|reset)|socket closed|coordination|heartbeat", re.I)


@dataclass(frozen=True)
class ProcessInfo:
    """One process among several.

    Attributes:
        coordinator: `HOST:PORT` of process 0; None where JAX finds all three (Cloud TPU).
        count: How many there are.
        index: Which one this is.
        own_devices: Local ids of its accelerators, where others of its host have the rest.
    """

    coordinator: str | None
    count: int | None = None
    index: int | None = None
    own_devices: tuple[int, ...] | None = None


def add_host_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--coordinator`, `--processes`, `--process` and `--join-timeout`."""
    group = parser.add_argument_group(
        "several processes",
        "Each runs the same command. Under srun, under mpirun and on a Cloud TPU they find each "
        "other; else these say it, or FCNJAX_COORDINATOR, FCNJAX_PROCESSES and FCNJAX_PROCESS.",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 is reached")
    group.add_argument("--processes", metavar="N", help="how many there are")
    group.add_argument("--process", metavar="I", help="which one this is, from 0 on")
    group.add_argument(
        "--join-timeout",
        metavar="SECONDS",
        default=str(JOIN_S),
        help=f"how long each waits for the others at the start ({JOIN_S})",
    )


def find_process_info(args: argparse.Namespace, environ: Mapping[str, str]) -> ProcessInfo | None:
    """Where this process stands among others; None where it is alone.

    Raises:
        UserError: What says so is incomplete.
    """
    given = {
        "--coordinator": args.coordinator or environ.get("FCNJAX_COORDINATOR"),
        "--processes": args.processes or environ.get("FCNJAX_PROCESSES"),
        "--process": args.process or environ.get("FCNJAX_PROCESS"),
    }
    if given["--coordinator"] == "auto":
        return ProcessInfo(None)
    if any(value is not None for value in given.values()):
        return _given(given)
    if int(environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environ:
        return _slurm(environ)
    if int(environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return _open_mpi(environ)
    if "," in environ.get("TPU_WORKER_HOSTNAMES", ""):
        return ProcessInfo(None)
    return None


def _given(given: Mapping[str, str | None]) -> ProcessInfo | None:
    for name, value in given.items():
        if value is None:
            variable = "FCNJAX_" + name[2:].upper()
            raise UserError(f"{name}: is missing beside the others; or set {variable}")
    count = _whole_number("--processes", given["--processes"], 1)
    index = _whole_number("--process", given["--process"], 0)
    if index >= count:
        raise UserError(f"--process: {index} is not below --processes, {count}")
    if not re.fullmatch(r".+:\d+", given["--coordinator"]):
        raise UserError(f"--coordinator: {given['--coordinator']!r} is not HOST:PORT")
    return ProcessInfo(given["--coordinator"], count, index) if count > 1 else None


def _whole_number(name: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name}: {text!r} is no whole number from {least} on")
    return int(text)


def _slurm(environ: Mapping[str, str]) -> ProcessInfo:
    nodes = environ.get("SLURM_STEP_NODELIST", environ.get("SLURM_JOB_NODELIST", ""))
    # Of `node[003-007,9]-ib,other` the first is `node003-ib`.
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if not found:
        raise UserError(f"SLURM_STEP_NODELIST: {nodes!r} names no host; start it with srun")
    port = FIRST_PORT + int(environ.get("SLURM_JOB_ID", 0)) % PORTS
    # As `2(x3),1`: this process shares its host's accelerators with others of it.
    shared = environ.get("SLURM_STEP_TASKS_PER_NODE", "1")[:1] != "1"
    return ProcessInfo(
        f"{''.join(part or '' for part in found.groups())}:{port}",
        int(environ["SLURM_NTASKS"]),
        int(environ["SLURM_PROCID"]),
        (int(environ["SLURM_LOCALID"]),) if shared else None,
    )


def _open_mpi(environ: Mapping[str, str]) -> ProcessInfo:
    count = int(environ["OMPI_COMM_WORLD_SIZE"])
    if environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") != str(count):
        raise UserError(
            "--coordinator: mpirun over several hosts does not say where process 0 is; give "
            "--coordinator=HOST:PORT --processes=$OMPI_COMM_WORLD_SIZE "
            "--process=$OMPI_COMM_WORLD_RANK"
        )
    # All are children of one mpirun.
    coordinator = f"127.0.0.1:{FIRST_PORT + os.getppid() % PORTS}"
    own = int(environ["OMPI_COMM_WORLD_LOCAL_RANK"])
    return ProcessInfo(coordinator, count, int(environ["OMPI_COMM_WORLD_RANK"]), (own,))


@contextlib.contextmanager
def distributed_context(args: argparse.Namespace) -> Iterator[None]:
    """Joins the other processes, if there are any, before JAX is used.

    Any error, also that another process is lost, then ends this one at once, in a line: the others,
    which wait for it, end as well.

    Raises:
        UserError: What says where the others are is incomplete.
    """
    place = find_process_info(args, os.environ)
    if place is None:
        yield
        return
    try:
        join(place, _whole_number("--join-timeout", args.join_timeout, 1))
        yield
    except UserError as error:
        _end(f"error: {error}", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        if not LOST.search(str(error)):
            traceback.print_exc()
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        _end(
            f"error: process {jax.process_index()} of {jax.process_count()} ends: another process "
            f"was lost, or this one failed ({reason[:200]}); the same command, started again for "
            "all, goes on from the newest checkpoint",
            1,
        )
    jax.distributed.shutdown()


def _end(message: str, code: int) -> None:
    """Ends the process without waiting for the others, as JAX would at its exit."""
    print(f"fcnjax: {message}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def join(place: ProcessInfo, timeout: int) -> None:
    """Waits until all processes are there, and ends this one after `timeout` seconds.

    Raises:
        UserError: JAX finds no others, or the port is taken.
    """
    who = f"process {place.index} of {place.count}" if place.count else "a process"
    where = f" at {place.coordinator}" if place.coordinator else ""
    words = (
        f"error: --join-timeout: {who} waited {timeout} s, and not all joined{where}; is each "
        "started with the same number of processes, and is the port open between them?"
    )
    # JAX would end it with a stack trace of C++ in place of an error.
    timer = threading.Timer(timeout, _end, (words, 2))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.count,
            place.index,
            local_device_ids=place.own_devices,
            cluster_detection_method=None if place.coordinator is None else "deactivate",
            initialization_timeout=timeout + 60,
            heartbeat_timeout_seconds=HEARTBEAT_S,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"--coordinator: {who} cannot join the others{where}: {reason}") from error
    finally:
        timer.cancel()


def check_alike(config: ConfigDict, workdir: str) -> None:
    """Raises UserError unless all processes have one config and workdir; names what differs."""
    values = {f"config.{key}": value for key, value in flatten(config).items()}
    check_same({**values, "--workdir": workdir})


def check_same(values: Mapping[str, Any]) -> None:
    """Compares values over all processes, each of which calls this with the same keys.

    Raises:
        UserError: A process has another value than process 0; names the key.
    """
    if jax.process_count() == 1:
        return
    hashes = [zlib.crc32(repr(value).encode()) for _, value in sorted(values.items())]
    every = multihost_utils.process_allgather(np.asarray(hashes, np.uint32))
    wrong = np.argwhere(every != every[0])
    if len(wrong):
        process, place = map(int, wrong[0])
        key = sorted(values)[place]
        raise UserError(
            f"{key}: process {process} has another value than process 0 (here it is "
            f"{values[key]!r}); start all with the same command"
        )


def broadcast_from_primary(choose: Callable[[], int]) -> int:
    """What the function returns on process 0, which alone calls it, on every process."""
    if jax.process_count() == 1:
        return choose()
    chosen = choose() if jax.process_index() == 0 else 0
    return int(multihost_utils.broadcast_one_to_all(np.int64(chosen)))


def reached_preemption(step: int) -> bool:
    """Whether a process was told to end, and this is the step at which all of them do.

    All processes call it after each step.
    """
    return multihost_utils.reached_preemption_sync_point(step)
