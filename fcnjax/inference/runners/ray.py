"""`fcnjax predict --runner=ray`: prediction of millions of images on Ray Data.

Ray Data schedules the work, distributes it and restarts processes that died. Every actor keeps a
model loaded. Ray gets the numbers and names of the remaining images; each actor reads the images
and records the results. (Ray's own image readers end the run at the first bad image or skip a whole
batch, and do not number rows.)
"""

import contextlib
import os
import signal
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
from fcnjax.inference.identity import identify_weights
from fcnjax.inference.inputs.listing import Listing
from fcnjax.inference.outputs.manifest import (
    MANIFEST,
    RecordIndex,
    claim_folder,
    remove_temporaries,
)
from fcnjax.inference.request import Request
from fcnjax.inference.runners.worker import Job, PredictionWorker
from fcnjax.io.progress import ProgressBar

BATCH = 32  # images that an actor takes at a time


class Options(NamedTuple):
    """Options of a run.

    Attributes:
        request: The request for each image.
        out: The output folder, shared by all machines.
        actors: Number of models, or None for one per accelerator, or one on CPUs.
        address: Address of a Ray cluster, or `auto`. None starts Ray on this machine.
        retry_failed: Whether to predict images again that failed in an earlier run.
        most_failed: Largest share of images that may fail.
    """

    request: Request
    out: str
    actors: int | None
    address: str | None
    retry_failed: bool
    most_failed: float


def predict(listing: Listing, options: Options) -> int:
    """Predict the remaining images of a listing and write `manifest.jsonl`.

    Returns:
        The exit code: 1 if no image was predicted, or a greater share failed than may.

    Raises:
        UserError: Ray is missing or cannot be reached, or `out` contains another run or cannot be
            written.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UserError("--runner=ray: needs Ray: pip install 'fcnjax[ray]'") from error
    request = options.request
    weights = [identify_weights(*model, request.dtype, request.resize) for model in request.models]
    plan = {
        "listing": {
            "images": len(listing),
            "first": listing.sources[0],
            "sha256": listing.sha256(),
        },
        "checkpoint": {key: ", ".join(str(one[key]) for one in weights) for key in weights[0]},
        "set of outputs": request.options,
    }
    with claim_folder(options.out, plan) as out:
        index = RecordIndex(out, len(listing))
        remaining = np.flatnonzero(~index.ok if options.retry_failed else ~index.recorded)
        if len(remaining):
            if index.is_resumed:
                remove_temporaries(out, [listing.ids[i] for i in remaining])
            job = _make_job(request, [one["step"] for one in weights], out)
            _run(listing, remaining, job, options)
            index = RecordIndex(out, len(listing))
        if missing := np.count_nonzero(~index.recorded):
            raise UserError(
                f"--out: {options.out}: {missing} of {len(listing)} images have no record; is it a "
                "folder that all machines share? The same command resumes the run"
            )
        if len(remaining) or index.is_resumed:
            index.write_manifest()
    return _report(index, options)


def _make_job(request: Request, steps: Sequence[int], out: Path) -> Job:
    workdirs = (
        workdir if "://" in workdir else str(Path(workdir).absolute())
        for workdir, _ in request.models
    )
    return Job(
        request=replace(request, models=tuple(zip(workdirs, steps, strict=True))),
        out=str(out),
        session=uuid.uuid4().hex,
        max_pixels=os.environ.get(VARIABLE),
    )


def _report(index: RecordIndex, options: Options) -> int:
    """Print the number of predicted and failed images; return the exit code."""
    count, predicted = len(index.ok), np.count_nonzero(index.ok)
    failures = count - predicted
    print(f"{predicted} images predicted, {failures} failed, in {options.out}/{MANIFEST}")
    return int(not predicted or failures > options.most_failed * count)


def _run(listing: Listing, remaining: np.ndarray, job: Job, options: Options) -> None:
    import ray.data

    from fcnjax.inference.runners.ray_cluster import connect
    from fcnjax.inference.runners.ray_dataset import make_dataset

    with connect(options.address, options.actors) as resources, _exit_on_sigterm():
        actors, requirements = _choose_actors(resources, options)
        dataset = make_dataset(listing, remaining, BATCH, actors).map_batches(
            PredictionWorker,
            fn_constructor_args=(job,),
            batch_size=BATCH,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            **requirements,
        )
        with ProgressBar(len(listing), done=len(listing) - len(remaining)) as progress:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in batch.to_pylist():
                    if row["fatal"]:
                        raise UserError(row["fatal"])
                    progress.add(row["predicted"], row["failed"])


def _choose_actors(resources: dict[str, float], options: Options) -> tuple[int, dict[str, Any]]:
    """Return the number of actors, and the resources of each: an accelerator, or a CPU."""
    table = {"GPU": {"num_gpus": 1}, "TPU": {"resources": {"TPU": 1}}, "CPU": {"num_cpus": 1}}
    kinds = ["CPU"] if os.environ.get("JAX_PLATFORMS") == "cpu" else table
    kind = next((kind for kind in kinds if resources.get(kind, 0) >= 1), "CPU")
    available = int(resources.get(kind, 0))
    actors = options.actors or (1 if kind == "CPU" else available)
    if actors > available:
        raise UserError(
            f"--actors={actors}: Ray sees {available} {kind}s, and each actor takes one"
        )
    return actors, table[kind]


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Exit cleanly at SIGTERM, for which Ray would print a C++ stack trace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        print("fcnjax: stopped by SIGTERM; the same command resumes the run", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
