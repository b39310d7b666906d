r"""Trains on a Ray cluster: Ray Train's JaxTrainer starts `fcnjax train` on each of its workers.

Usage: python launch/ray_job.py [OPTION...] --config=CONFIG --workdir=DIR [TRAIN OPTION...]

  python launch/ray_job.py --workers=2 --config=biomedical_stare:cpu --workdir=runs/stare
  python launch/ray_job.py --address=auto --workers=4 --gpus-per-worker=8 \
      --config=driving_cityscapes --workdir=/shared/runs/city
  python launch/ray_job.py --address=auto --topology=v5e:4x4 \
      --config=driving_cityscapes --workdir=/shared/runs/city

Options not listed below go to `fcnjax train`. Install the extra ray here and on all nodes, all of
which must see the workdir. If a worker or its node is lost, Ray restarts all workers, which resume
from the newest complete checkpoint. Ray stores its records of the job in WORKDIR-ray. This script
does not release nodes: a cluster that you started costs money until you stop it (ray down).
"""

import argparse
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

MISTAKE = 2  # the exit code of `fcnjax train` for a user error, which a restart would only repeat
# Ends with the worker that started it, even if that is killed: 1 is PR_SET_PDEATHSIG.
TRAINING = """import ctypes, signal
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from fcnjax import cli
cli.console()"""
TPUS = {"v4": "TPU-V4", "v5e": "TPU-V5LITEPOD", "v5p": "TPU-V5P", "v6e": "TPU-V6E"}


def fail(message: str, code: int = 2) -> NoReturn:
    """Print a one-line error and exit."""
    print(f"ray_job: error: {message}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of this script and the arguments for `fcnjax train`."""
    parser = argparse.ArgumentParser(
        prog="ray_job",
        usage=argparse.SUPPRESS,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_ADDRESS") or "local",
        help="address of the cluster; auto: the cluster of this machine. Default: RAY_ADDRESS, "
        "otherwise a new Ray instance on this machine",
    )
    parser.add_argument("--workers", type=int, help="number of processes, usually one per node (1)")
    parser.add_argument("--cpus-per-worker", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument("--gpus-per-worker", type=int, default=0, metavar="N", help="(0)")
    parser.add_argument(
        "--topology", default="", metavar="CHIP:AxB", help="a TPU slice, such as v5e:4x4"
    )
    parser.add_argument(
        "--max-failures", type=int, default=3, metavar="N", help="maximum restarts (3)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the command and stop")
    options, words = parser.parse_known_args(argv)
    for name in ("--config", "--workdir"):
        if value_of(name, words) is None:
            fail(f"{name} is missing")
    least = {"workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0, "max_failures": -1}
    for name, low in least.items():
        value = getattr(options, name)
        if value is not None and value < low:
            fail(f"--{name.replace('_', '-')}: {value} is below {low}")
    return options, words


def value_of(name: str, words: list[str]) -> str | None:
    """Return the value of an option among the words, or None."""
    for index, word in enumerate(words):
        if word == name:
            return words[index + 1] if words[index + 1 :] else None
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def plan(options: argparse.Namespace) -> dict:
    """Return the arguments of Ray's ScalingConfig."""
    if not options.topology:
        resources = {"CPU": options.cpus_per_worker}
        if options.gpus_per_worker:
            resources["GPU"] = options.gpus_per_worker
        return {
            "num_workers": options.workers or 1,
            "use_gpu": bool(options.gpus_per_worker),
            "resources_per_worker": resources,
        }
    if options.gpus_per_worker:
        fail("--topology and --gpus-per-worker: give only one of them")
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", options.topology)
    if not match or match[1] not in TPUS:
        fail(f"--topology: {options.topology!r}; valid: v5e:4x4, with a chip of {', '.join(TPUS)}")
    chips = math.prod(map(int, match[2].split("x")))
    # Slices of v5e and v6e with up to eight chips are on one host; larger ones have four per host.
    per_host = chips if match[1] in ("v5e", "v6e") and chips <= 8 else 4
    if chips % per_host or options.workers not in (None, chips // per_host):
        fail(f"--topology: {options.topology} has {chips / per_host:g} hosts, one worker each")
    return {
        "num_workers": chips // per_host,
        "use_tpu": True,
        "topology": match[2],
        "accelerator_type": TPUS[match[1]],
        "resources_per_worker": {"CPU": options.cpus_per_worker, "TPU": per_host},
    }


def on_worker(job: dict) -> None:
    """Train as one process of the job; Ray calls this on each worker.

    Raises:
        RuntimeError: Training failed. Ray then restarts all workers.
    """
    import ray
    import ray.train
    from ray.train.collective import broadcast_from_rank_zero

    context = ray.train.get_context()
    rank, count = context.get_world_rank(), context.get_world_size()
    place = {}
    if count > 1:
        mine = None
        if rank == 0:
            with socket.socket() as free:
                free.bind(("", 0))
                mine = f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"
        place["FCNJAX_COORDINATOR"] = broadcast_from_rank_zero(mine)
        place["FCNJAX_PROCESSES"], place["FCNJAX_PROCESS"] = str(count), str(rank)
    # A separate process, since its exit code is needed. Ray starts workers in its own folder, but
    # relative paths start at the user's.
    command = [sys.executable, "-c", TRAINING, "train", *job["words"]]
    code = subprocess.run(
        command, cwd=job["folder"], env={**os.environ, **place}, check=False
    ).returncode
    verdict = Path(job["verdict"])
    if code == MISTAKE or (code == 0 and rank == 0):
        verdict.write_text(str(code), encoding="utf-8")
    if code not in (0, MISTAKE):
        # A user error in one process makes the others fail too: wait for its verdict.
        time.sleep(5)
        if not verdict.exists():
            raise RuntimeError(f"fcnjax train ended with {code} on worker {rank}")


def fit(options: argparse.Namespace, words: list[str], scaling: dict) -> int:
    """Run the job to its end and return the exit code."""
    # Older versions of Ray have two training APIs; this selects the current one.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
        from ray.train.v2.jax import JaxConfig, JaxTrainer
    except ImportError as error:
        fail(f"{error.name or error}: is not installed: pip install 'fcnjax[ray]'")
    started = {}
    if options.address == "local":
        # With fewer CPUs than requested, the workers would wait forever.
        cpus = scaling["num_workers"] * options.cpus_per_worker
        started = {"num_cpus": max(cpus, os.cpu_count() or 1)}
    try:
        ray.init(address=options.address, **started)
    except (ConnectionError, ValueError) as error:
        fail(f"--address: {options.address}: {str(error).splitlines()[0]}")
    workdir = Path(value_of("--workdir", words)).absolute()
    verdict = workdir.with_name(f"{workdir.name}-ray") / "exit_code"
    verdict.unlink(missing_ok=True)
    verdict.parent.mkdir(parents=True, exist_ok=True)
    trainer = JaxTrainer(
        on_worker,
        train_loop_config={"words": words, "folder": str(Path.cwd()), "verdict": str(verdict)},
        # This config does not let Ray initialize jax.distributed. fcnjax does so itself, and exits
        # within a bounded time if another process is lost.
        jax_config=JaxConfig(),
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(
            name=verdict.parent.name,
            storage_path=str(workdir.parent),
            failure_config=FailureConfig(max_failures=options.max_failures),
        ),
    )
    try:
        trainer.fit()
    except (WorkerGroupError, ControllerError, ray.exceptions.RayError) as error:
        fail(" ".join(str(error).split())[:500], code=1)
    return int(verdict.read_text(encoding="utf-8"))


def main(argv: list[str]) -> int:
    """Run the script and return its exit code."""
    options, words = parse(argv)
    scaling = plan(options)
    if options.dry_run:
        print(f"# Ray at {options.address}; ScalingConfig: {scaling}; on each worker:")
        if (count := scaling["num_workers"]) > 1:
            print(f"# with FCNJAX_PROCESSES={count}, FCNJAX_COORDINATOR and FCNJAX_PROCESS set")
        print(shlex.join(["fcnjax", "train", *words]))
        return 0
    return fit(options, words, scaling)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
