r"""Trains on a Ray cluster: Ray Train's JaxTrainer starts `fcnjax train` on each of its workers.

Usage: python launch/ray_job.py [OPTION...] --config=CONFIG --workdir=DIR [TRAIN OPTION...]

  python launch/ray_job.py --workers=2 --config=biomedical_stare:cpu --workdir=runs/stare
  python launch/ray_job.py --address=auto --workers=4 --gpus-per-worker=8 \
      --config=driving_cityscapes --workdir=/shared/runs/city
  python launch/ray_job.py --address=auto --topology=v5e:4x4 \
      --config=driving_cityscapes --workdir=/shared/runs/city

Options that are not named below go to `fcnjax train`. Needs the extra ray here and on all nodes,
which must all see the workdir. A worker that is lost, or whose node is taken away, ends the others;
Ray starts them all again, and they go on from the newest whole checkpoint. What Ray notes of the
job goes to WORKDIR-ray, beside the workdir. Nodes are not given back by this script: a cluster that
you started costs money until you stop it (ray down, or what started it).
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

MISTAKE = 2  # the exit code of `fcnjax train` for a user's mistake: trying again is of no use
# It is to end with the worker that started it, were this killed: 1 is PR_SET_PDEATHSIG.
TRAINING = """import ctypes, signal
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from fcnjax import cli
cli.console()"""
TPUS = {"v4": "TPU-V4", "v5e": "TPU-V5LITEPOD", "v5p": "TPU-V5P", "v6e": "TPU-V6E"}


def fail(message: str, code: int = 2) -> NoReturn:
    """Prints one line, and ends."""
    print(f"ray_job: error: {message}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of this script, and the words for `fcnjax train`."""
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
        help="of the cluster; auto: the one of this machine; without it, RAY_ADDRESS, else a Ray "
        "of its own is started on this machine",
    )
    parser.add_argument("--workers", type=int, help="processes, one a node as a rule (1)")
    parser.add_argument("--cpus-per-worker", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument("--gpus-per-worker", type=int, default=0, metavar="N", help="(0)")
    parser.add_argument(
        "--topology", default="", metavar="CHIP:AxB", help="of one TPU slice, as v5e:4x4"
    )
    parser.add_argument(
        "--max-failures", type=int, default=3, metavar="N", help="times it starts again (3)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what it would do")
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
    """The value of an option among the words, or None."""
    for index, word in enumerate(words):
        if word == name:
            return words[index + 1] if words[index + 1 :] else None
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def plan(options: argparse.Namespace) -> dict:
    """The arguments of Ray's ScalingConfig."""
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
        fail("--topology and --gpus-per-worker: give one of them")
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", options.topology)
    if not match or match[1] not in TPUS:
        fail(f"--topology: {options.topology!r}; valid: v5e:4x4, with a chip of {', '.join(TPUS)}")
    chips = math.prod(map(int, match[2].split("x")))
    # Up to eight chips of v5e and v6e are in one host; larger slices have four in each.
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
    """Trains, as one of the processes of the job; Ray calls it on each worker.

    Raises:
        RuntimeError: The training failed; Ray starts all of them again.
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
    # A process of its own, whose exit code counts. Ray starts workers in a folder of its own;
    # relative paths count from where the user is.
    command = [sys.executable, "-c", TRAINING, "train", *job["words"]]
    code = subprocess.run(
        command, cwd=job["folder"], env={**os.environ, **place}, check=False
    ).returncode
    verdict = Path(job["verdict"])
    if code == MISTAKE or (code == 0 and rank == 0):
        verdict.write_text(str(code), encoding="utf-8")
    if code not in (0, MISTAKE):
        # A mistake that one process alone meets ends the others as lost.
        time.sleep(5)
        if not verdict.exists():
            raise RuntimeError(f"fcnjax train ended with {code} on worker {rank}")


def fit(options: argparse.Namespace, words: list[str], scaling: dict) -> int:
    """Runs the job to its end; returns the exit code."""
    # Ray's present API of training, where an older Ray has another one too.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
        from ray.train.v2.jax import JaxConfig, JaxTrainer
    except ImportError as error:
        fail(f"{error.name or error}: is missing: pip install 'fcnjax[ray]'")
    started = {}
    if options.address == "local":
        # As many as the workers ask for, or they would wait for ever.
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
        # Ray is not to initialise jax.distributed: fcnjax does, and ends in bounded time where
        # another process is lost.
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
    """Runs the script; returns its exit code."""
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
