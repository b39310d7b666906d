"""`fcnjax predict --runner=ray`: labels millions of images on Ray Data.

Ray Data schedules the work, moves it to the machines and starts what died again; every actor keeps
a model. What Ray is given are the numbers and names of the images that are left; each actor reads
its own and records what became of each. (Ray's readers of images end the run at the first that is
bad, or leave out all that it is read with, and do not number rows.)
"""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.data.readers.limits import VARIABLE
from fcnjax.errors import UserError
from fcnjax.inference.identity import find_weights
from fcnjax.inference.inputs.listing import Listing
from fcnjax.inference.outputs.manifest import MANIFEST, Results, claimed, remove_temporaries
from fcnjax.inference.request import Request
from fcnjax.inference.runners.worker import Job, Labeller
from fcnjax.io.progress import ProgressBar

BATCH = 32  # images that an actor takes at a time
REACHED_IN = 10  # seconds
_FAULT = re.compile(r"[\w.]*(Error|Exception): ")
_COLOUR = re.compile(r"\x1b\[\d*m")


class Options(NamedTuple):
    """How a run is done.

    Attributes:
        request: What is asked of each image.
        out: The folder that outputs go to; all machines share it.
        actors: How many models at once; None: one an accelerator, or one.
        address: Of a Ray cluster, or `auto`; None: Ray is started on this machine.
        retry_failed: Whether to try those again that failed before.
        most_failed: The share that may fail.
    """

    request: Request
    out: str
    actors: int | None
    address: str | None
    retry_failed: bool
    most_failed: float


def predict(listing: Listing, options: Options) -> int:
    """Labels what a listing names, or what is left of it; writes `manifest.jsonl`.

    Returns:
        The exit code: 1 where no image could be labelled, or a greater share than may fail did.

    Raises:
        UserError: Ray is missing or not there, or `out` holds another run or cannot be written.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UserError("--runner=ray: needs Ray: pip install 'fcnjax[ray]'") from error
    request = options.request
    weights = [find_weights(*model, request.dtype) for model in request.models]
    plan = {
        "listing": {
            "images": len(listing),
            "first": listing.sources[0],
            "sha256": listing.sha256(),
        },
        "checkpoint": {key: ", ".join(str(one[key]) for one in weights) for key in weights[0]},
        "set of outputs": request.plan,
    }
    with claimed(options.out, plan) as out:
        results = Results(out, len(listing))
        left = np.flatnonzero(~results.ok if options.retry_failed else ~results.found)
        if len(left):
            if results.is_resumed:
                remove_temporaries(out, [listing.ids[i] for i in left])
            _run(listing, left, _job(request, [one["step"] for one in weights], out), options)
            results = Results(out, len(listing))
        if missing := np.count_nonzero(~results.found):
            raise UserError(
                f"--out: {options.out}: {missing} of {len(listing)} images have no record; is it a "
                "folder that all machines share? The same command goes on"
            )
        if len(left) or results.is_resumed:
            results.write()
    return _tell(results, options)


def _job(request: Request, steps: Sequence[int], out: Path) -> Job:
    workdirs = (
        workdir if workdir.startswith("hf://") else str(Path(workdir).absolute())
        for workdir, _ in request.models
    )
    return Job(
        request=replace(request, models=tuple(zip(workdirs, steps, strict=True))),
        out=str(out),
        session=uuid.uuid4().hex,
        most_pixels=os.environ.get(VARIABLE),
    )


def _tell(results: Results, options: Options) -> int:
    count, labelled = len(results.ok), np.count_nonzero(results.ok)
    failed = count - labelled
    print(f"{labelled} images labelled, {failed} failed, in {options.out}/{MANIFEST}")
    if not labelled or failed > options.most_failed * count:
        return 1
    return 0


def _run(listing: Listing, left: np.ndarray, job: Job, options: Options) -> None:
    import ray.data

    from fcnjax.inference.runners.ray_dataset import make_dataset

    with _ray(options) as resources, _stopped_by_sigterm():
        actors, needs = _actors(resources, options)
        dataset = make_dataset(listing, left, BATCH, actors).map_batches(
            Labeller,
            fn_constructor_args=(job,),
            batch_size=BATCH,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            **needs,
        )
        with ProgressBar(len(listing), done=len(listing) - len(left)) as tally:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in batch.to_pylist():
                    if row["fatal"]:
                        raise UserError(row["fatal"])
                    tally.add(row["labelled"], row["failed"])


def _actors(resources: dict[str, float], options: Options) -> tuple[int, dict[str, Any]]:
    """How many actors, and what each asks Ray for: one accelerator, or a CPU."""
    table = {"GPU": {"num_gpus": 1}, "TPU": {"resources": {"TPU": 1}}, "CPU": {"num_cpus": 1}}
    kinds = ["CPU"] if os.environ.get("JAX_PLATFORMS") == "cpu" else table
    kind = next((kind for kind in kinds if resources.get(kind, 0) >= 1), "CPU")
    there = int(resources.get(kind, 0))
    actors = options.actors or (1 if kind == "CPU" else there)
    if actors > there:
        raise UserError(f"--actors={actors}: Ray sees {there} {kind}s, and each actor takes one")
    return actors, table[kind]


@contextlib.contextmanager
def _ray(options: Options) -> Iterator[dict[str, float]]:
    """Joins Ray, or starts it on this machine, and yields the resources that it has."""
    # Read when Ray's own part starts: its workers' C++ tells of each thing on the terminal.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    was_there = ray.is_initialized()
    try:
        if not was_there:
            _start(ray, options)
        _quiet(ray)
        yield ray.cluster_resources()
    except ray.exceptions.RayError as error:
        raise UserError(f"--runner=ray: {_reason(error)}; the same command goes on") from error
    finally:
        if not was_there:
            ray.shutdown()


def _reason(error: Exception) -> str:
    """What went wrong, of a text that may hold the tracebacks of several processes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    faults = [line for line in lines if _FAULT.match(line)] or lines[:1]
    reason = _COLOUR.sub("", faults[-1]) if faults else ""
    return reason if _FAULT.match(reason) else f"{type(error).__name__}: {reason}"


def _start(ray: Any, options: Options) -> None:
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    more = {"address": address}
    if address == "local":
        # One more than the actors take, for what reads records.
        cpus = max(len(os.sched_getaffinity(0)), (options.actors or 1) + 1)
        more |= {"num_cpus": cpus, "include_dashboard": False}
    _refuse_unreachable(address)
    try:
        with _no_stderr():
            ray.init(**more, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"--ray-address={address}: {reason}; is Ray there, and if it takes tokens, is "
            "RAY_AUTH_MODE=token set?"
        ) from error


def _refuse_unreachable(address: str) -> None:
    """Raises UserError where nothing listens: Ray would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_IN).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray-address={address}: cannot be reached: {error}") from error


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Ends the command in order at SIGTERM, of which Ray would tell in a trace of its C++."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        print("fcnjax: stopped by SIGTERM; the same command goes on", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Keeps the C++ part of Ray from the terminal; what went wrong is raised too."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _quiet(ray: Any) -> None:
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        # Not those that write to Ray's own files.
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
