"""`fcnjax predict --runner=ray`: labels millions of images on Ray Data.

Ray Data schedules the work, moves it to the machines and starts what died again; every actor keeps
a model. What Ray is given are the numbers and names of the images that are left; each actor reads
its own and records what became of each. (Ray's readers of images end the run at the first that is
bad, or leave out all that it is read with, and do not number rows.)
"""

import contextlib
import logging
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.data.limits import VARIABLE
from fcnjax.errors import UserError
from fcnjax.predict.identity import find_weights
from fcnjax.predict.labeller import Job, Labeller
from fcnjax.predict.listing import Listing
from fcnjax.predict.manifest import MANIFEST, Results, claimed, remove_temporaries
from fcnjax.predict.progress import Tally
from fcnjax.predict.records import Group, read_group

BATCH = 32  # images that an actor takes at a time
MOST_BLOCKS = 20_000  # that Ray has to keep in mind
ROWS = 16  # records that are passed on at a time


class Options(NamedTuple):
    """How a run is done.

    Attributes:
        workdir: The model, as `load` takes it.
        step: Its step, as `load` takes it.
        dtype: Of the computation; None: as it was trained.
        probabilities: Whether to write those too.
        out: The folder that outputs go to; all machines share it.
        actors: How many models at once; None: one an accelerator, or one.
        address: Of a Ray cluster, or `auto`; None: Ray is started on this machine.
        retry_failed: Whether to try those again that failed before.
        most_failed: The share that may fail.
    """

    workdir: str
    step: str | int
    dtype: str | None
    probabilities: bool
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
    weights = find_weights(options.workdir, options.step, options.dtype)
    plan = {
        "listing": {
            "images": len(listing),
            "first": listing.sources[0],
            "sha256": listing.sha256(),
        },
        "checkpoint": weights,
        "set of outputs": {"probabilities": options.probabilities},
    }
    with claimed(options.out, plan) as out:
        results = Results(out, len(listing))
        left = np.flatnonzero(~results.ok if options.retry_failed else ~results.found)
        if len(left):
            if results.is_resumed:
                remove_temporaries(out, [listing.ids[i] for i in left])
            _run(listing, left, _job(options, weights["step"], out), options)
            results = Results(out, len(listing))
        if missing := np.count_nonzero(~results.found):
            raise UserError(
                f"--out: {options.out}: {missing} of {len(listing)} images have no record; is it a "
                "folder that all machines share? The same command goes on"
            )
        if len(left) or results.is_resumed:
            results.write()
    return _tell(results, options)


def _job(options: Options, step: str | int, out: Path) -> Job:
    workdir = options.workdir
    return Job(
        workdir=workdir if workdir.startswith("hf://") else str(Path(workdir).absolute()),
        step=step,
        dtype=options.dtype,
        probabilities=options.probabilities,
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

    with _ray(options) as resources:
        actors, needs = _actors(resources, options)
        dataset = _dataset(listing, left, actors).map_batches(
            Labeller,
            fn_constructor_args=(job,),
            batch_size=BATCH,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            **needs,
        )
        with Tally(len(listing), done=len(listing) - len(left)) as tally:
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
        cause = getattr(error, "cause", None) or error
        reason = next(iter(str(cause).splitlines()), "") or type(cause).__name__
        raise UserError(
            f"--runner=ray: {type(cause).__name__}: {reason}; the same command goes on"
        ) from error
    finally:
        if not was_there:
            ray.shutdown()


def _start(ray: Any, options: Options) -> None:
    address = options.address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise UserError(f"--ray-address={address}: no Ray there: {reason}") from error
        return
    # One more than the actors take, for what reads records.
    cpus = max(len(os.sched_getaffinity(0)), (options.actors or 1) + 1)
    with _no_stderr():
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Keeps Ray's C++ from the terminal, which tells that it was told to be quiet."""
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


def _dataset(listing: Listing, left: np.ndarray, actors: int) -> Any:
    import pyarrow as pa
    import ray.data

    if listing.groups:
        tables = list(_group_tables(listing, left))
        return ray.data.from_arrow(tables).map_batches(
            _read_records, batch_size=1, batch_format="pyarrow", num_cpus=0.5
        )
    # A few for each actor at least, so that all end together.
    rows = max(min(BATCH, -(-len(left) // (4 * actors))), -(-len(left) // MOST_BLOCKS))
    tables = []
    for start in range(0, len(left), rows):
        part = left[start : start + rows]
        sources = [os.fsencode(listing.sources[i]) for i in part]
        nothing = [None] * len(part)
        tables.append(
            pa.Table.from_pydict(
                {
                    "index": part,
                    "id": [listing.ids[i] for i in part],
                    "source": sources,
                    "content": nothing,
                    "error": nothing,
                },
                schema=_schema(),
            )
        )
    return ray.data.from_arrow(tables)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        {
            "index": pa.int64(),
            "id": pa.string(),
            "source": pa.binary(),
            "content": pa.large_binary(),
            "error": pa.string(),
        }
    )


def _group_tables(listing: Listing, left: np.ndarray) -> Iterator[Any]:
    """A table of one row for each row group of which something is left."""
    import pyarrow as pa

    for group in listing.groups:
        first, last = np.searchsorted(left, [group.first, group.first + group.rows])
        rows = left[first:last]
        if len(rows):
            yield pa.Table.from_pylist(
                [
                    {
                        **vars(group),
                        "wanted": (rows - group.first).tolist(),
                        "ids": [listing.ids[i] for i in rows],
                        "sources": [os.fsencode(listing.sources[i]) for i in rows],
                    }
                ]
            )


def _read_records(table: Any) -> Iterator[Any]:
    import pyarrow as pa

    (row,) = table.to_pylist()
    wanted, ids, sources = row.pop("wanted"), row.pop("ids"), row.pop("sources")
    group = Group(**row)
    names = dict(zip(wanted, zip(ids, sources, strict=True), strict=True))
    records = []
    for number, content, error in read_group(group, frozenset(wanted)):
        name, source = names[number]
        records.append(
            {
                "index": group.first + number,
                "id": name,
                "source": source,
                "content": content,
                "error": error,
            }
        )
        if len(records) == ROWS:
            yield pa.Table.from_pylist(records, schema=_schema())
            records = []
    if records:
        yield pa.Table.from_pylist(records, schema=_schema())
