"""The training loop. Read this file first."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.data.loading import pipeline
from fcnjax.data.splits.stored_split import Split
from fcnjax.errors import UserError
from fcnjax.evaluation import Evaluator, Results, with_split, write_results
from fcnjax.io.atomic_files import remove_leftovers
from fcnjax.io.terminal import LogFn, format_duration, print_progress
from fcnjax.models import build_model
from fcnjax.optim import check_parts, make_learning_rate_fn, make_optimizer
from fcnjax.parallel.mesh import (
    check_batch_size,
    check_height,
    make_mesh,
    needs_sync,
    prefetch_to_devices,
    process_shard,
    replicated,
)
from fcnjax.parallel.processes import reached_preemption
from fcnjax.runtime.stop_signals import collect_stop_signals
from fcnjax.training.accumulate import check_accumulate
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.config_checks import check_config
from fcnjax.training.early_stopping import EarlyStopping
from fcnjax.training.initialize import restore_or_init
from fcnjax.training.messages import describe_end, describe_start
from fcnjax.training.resume import PreparedRun, prepare_run
from fcnjax.training.state import TrainState, param_shapes
from fcnjax.training.step import StepFn, TrainStep, make_train_step
from fcnjax.training.workdir import RUN_FILES
from fcnjax.training.workdir_lock import lock_workdir
from fcnjax.training.writers import Writer, open_writers
from fcnjax.training.writers.metrics_file import EVAL_PREFIX
from fcnjax.validate import ERROR, WARNING, quick_check


class TrainingStopped(Exception):
    """Training ended before its last step; `code` is the exit code of the process."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class Run(NamedTuple):
    """A training that is ready to start or to continue.

    Attributes:
        config: The resolved config.
        mesh: The devices.
        state: The state before the first step of this process.
        train_step: Maps a state and a batch to the next state and its metrics.
        batches: The batches from the step of `state` on.
        evaluator: Evaluates variables on the evaluation split.
        checkpoints: The checkpoints of the workdir.
        writers: Receive the metrics.
        early_stopping: Ends training when evaluations no longer improve.
        window: Metrics of the steps before `state` that no writer has received.
        mark_ending: Called when a signal came and the state is about to be saved.
    """

    config: ConfigDict
    mesh: Mesh
    state: TrainState
    train_step: TrainStep
    batches: Iterator[dict[str, jax.Array]]
    evaluator: Evaluator
    checkpoints: Checkpoints
    writers: Sequence[Writer]
    early_stopping: EarlyStopping
    window: Sequence[Mapping[str, float]]
    mark_ending: Callable[[], None]


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    writers: Sequence[Writer] | None = None,
    step_fn: StepFn | None = None,
) -> dict[str, float]:
    """Train a model, or continue from the newest intact checkpoint of the workdir.

    Args:
        config: The config, as `fcnjax.config.load_config` returns it.
        workdir: Folder of the checkpoints, metrics and report.
        writers: Receive the metrics as well, after the terminal, `metrics.jsonl` and TensorBoard:
            objects with `write(step, values)` and `close()`. They are closed at the end.
        step_fn: Replaces `make_train_step`: `step_fn(model, optimizer, config, mesh)` returns
            `train_step(state, batch) -> (state, metrics)`.

    Returns:
        The metrics of the last evaluation, such as `{"mean_iou": 0.81, "dice/vessel": 0.8}`.

    Raises:
        UserError: The config, the data or the workdir cannot be used.
        TrainingStopped: A signal came (the state was saved), or the loss is not finite.
    """
    workdir = Path(workdir)
    if jax.process_index():
        return _train(config, workdir, lambda line: None, lambda: None, (), step_fn)
    with contextlib.ExitStack() as stack:
        for writer in writers or ():
            stack.callback(writer.close)
        lock = stack.enter_context(lock_workdir(workdir, print_progress))
        remove_leftovers(workdir / name for name in RUN_FILES)
        return _train(config, workdir, print_progress, lock.mark_ending, writers or (), step_fn)


def _train(
    config: ConfigDict,
    workdir: Path,
    log: LogFn,
    mark_ending: Callable[[], None],
    writers: Sequence[Writer],
    step_fn: StepFn | None,
) -> dict[str, float]:
    """Train in a workdir that process 0 has locked."""
    is_primary = jax.process_index() == 0
    prepared = prepare_run(config, workdir)
    config = prepared.config
    check_config(config)
    mesh = _make_mesh(config)
    model, optimizer = build_model(config), make_optimizer(config)
    parts = check_parts(config, lambda: param_shapes(model, config))
    source = data.open_source(config, "train", prepared.sets)
    evaluator = Evaluator(model, config, mesh, data.open_source(config, "eval", prepared.sets))
    train_step = (step_fn or make_train_step)(model, optimizer, config, mesh)
    split = _begin(prepared, log)
    checkpoints = Checkpoints(
        workdir, keep=config.train.keep, best_metric=config.eval.best_metric, log=log
    )
    with contextlib.closing(checkpoints):
        state, progress = restore_or_init(checkpoints, model, optimizer, config, mesh, log)
        early_stopping, step = EarlyStopping(config, progress), int(state.step)
        is_done = step >= config.train.steps or early_stopping.is_over
        for line in describe_start(prepared, mesh, state, len(source), parts, is_done):
            log(line)
        if is_done:
            results = evaluator(state.inference_variables)
        else:
            opened = open_writers(config, workdir, step, writers) if is_primary else nullcontext(())
            batches = device_batches(source, config, mesh, step)
            with contextlib.closing(batches), opened as writers:
                run = Run(
                    config=config,
                    mesh=mesh,
                    state=state,
                    train_step=train_step,
                    batches=batches,
                    evaluator=evaluator,
                    checkpoints=checkpoints,
                    writers=writers,
                    early_stopping=early_stopping,
                    window=progress.get("window", ()),
                    mark_ending=mark_ending,
                )
                begin, first = time.monotonic(), step
                results, step = loop(run)
            log(f"trained {step - first} steps in {format_duration(time.monotonic() - begin)}")
        if early_stopping.is_over and step < config.train.steps:
            log(f"stopped early, at step {step} of {config.train.steps}: {early_stopping}")
    if is_primary:
        results = with_split(results, split, config, prepared.sets[0].sources["eval"])
        write_results(workdir, config, results, step)
        for line in describe_end(checkpoints.best(), config.eval.best_metric, workdir, step):
            log(line)
    return results.summary


def _begin(prepared: PreparedRun, log: LogFn) -> Split:
    """Log the notes of a run, check the dataset if it is new, and write its config and split."""
    for note in prepared.notes:
        log(note)
    if prepared.config.data.check and prepared.is_new and jax.process_index() == 0:
        check_dataset(prepared.config, log)
    return prepared.save()


def loop(run: Run) -> tuple[Results, int]:
    """Train until the last step or until early stopping.

    A run that a signal stopped and that is continued writes the same metrics as one that was not
    stopped: its checkpoint contains the metrics that were not yet written, as `window`.

    Returns:
        The last evaluation and its step.
    """
    config, state, window = run.config, run.state, list(run.window)
    learning_rate_fn, sync = make_learning_rate_fn(config), needs_sync(run.mesh)
    single = jax.process_count() == 1
    since, logged = time.perf_counter(), int(state.step)
    # With several processes JAX handles SIGTERM and finds a step at which all of them stop.
    with collect_stop_signals(run.mark_ending) if single else nullcontext([]) as signals:
        for step in range(int(state.step) + 1, config.train.steps + 1):
            state, metrics = run.train_step(state, next(run.batches))
            window.append(jax.block_until_ready(metrics) if sync else metrics)
            # Read once a step: a signal that comes later is handled in the next step.
            stop = bool(signals) if single else reached_preemption(step)
            eval_due, save_due, log_due = _due(config, step)
            if not (log_due or stop):
                continue

            # Fetching the metrics waits for the devices, so it is done only now and then.
            window = jax.device_get(window)
            values = _mean(window)
            _check_finite(values, step)
            results = run.evaluator(state.inference_variables) if eval_due else None
            summary = results.summary if results else {}
            if results:
                run.early_stopping.update(summary)
            if log_due:
                values["lr"] = learning_rate_fn(step - 1)
                seconds = max(time.perf_counter() - since, 1e-9)
                values["images_per_second"] = (step - logged) * config.train.batch_size / seconds
                values |= {f"{EVAL_PREFIX}{name}": v for name, v in summary.items()}
                for writer in run.writers:
                    writer.write(step, values)
                window, logged = [], step
            if save_due or stop:
                progress = {"batches": step, **run.early_stopping.progress}
                if window:
                    progress["window"] = [{k: float(v) for k, v in m.items()} for m in window]
                run.checkpoints.save(state, progress, summary or None)
            if run.early_stopping.is_over:
                break
            if stop and step < config.train.steps:
                run.mark_ending()
                run.checkpoints.wait()
                # Without a signal here, another process received SIGTERM.
                number = signals[0] if signals else signal.SIGTERM
                raise TrainingStopped(
                    f"stopped by {number.name} at step {step}; the checkpoint is saved, and the "
                    "same command continues from it",
                    128 + number,
                )
            since = time.perf_counter()
    return results, step


def _make_mesh(config: ConfigDict) -> Mesh:
    mesh = make_mesh(config)
    check_batch_size(config.train.batch_size, mesh, "config.train.batch_size")
    check_accumulate(config, mesh, config.train.batch_size)
    check_height(config.augment.crop[0], mesh)
    return mesh


def _due(config: ConfigDict, step: int) -> tuple[bool, bool, bool]:
    """Return whether to evaluate, to save and to log after a step; each includes the next."""
    train, every = config.train, config.eval.every
    evaluate = step == train.steps or bool(every and step % every == 0)
    save = evaluate or step % train.save_every == 0
    return evaluate, save, save or step % train.log_every == 0


def _mean(window: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of each metric over some steps, the losses first."""
    names = sorted(window[0], key=lambda name: (not name.startswith("loss"), name))
    return {name: float(np.mean([float(step[name]) for step in window])) for name in names}


def _check_finite(values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingStopped(
                f"{name} is {value} at step {step}: training cannot continue; the checkpoints are "
                "from before this step. Try a lower config.optim.lr, config.optim.clip_norm=1, or "
                "config.optim.warmup_steps.",
                1,
            )


def device_batches(
    source: data.Source, config: ConfigDict, mesh: Mesh, start: int
) -> Iterator[dict[str, jax.Array]]:
    """Yield training batches on the devices, from global batch `start` on.

    With `config.data.loading.cache=device`, a batch contains the indices of its examples and the
    entire dataset, which is copied to every device once.
    """
    shard = process_shard(mesh)
    if config.data.loading.cache != "device":
        batches = pipeline.train_batches(source, config, start, **shard)
        with contextlib.closing(batches):
            yield from prefetch_to_devices(batches, mesh)
        return
    arrays = pipeline.load_all(source, config.data.ignore_label)
    batches = pipeline.index_batches(
        source, config, start, arrays["label"], arrays["extent"], **shard
    )
    cache = {f"{name}s": arrays[name] for name in ("image", "label")}
    cache = jax.device_put(cache, replicated(mesh))
    for batch in prefetch_to_devices(batches, mesh):
        yield {**batch, **cache}


def check_dataset(config: ConfigDict, log: LogFn) -> None:
    """Check some examples of the dataset and log warnings.

    Raises:
        UserError: The dataset has a fault that makes training pointless.
    """
    for finding in quick_check(config):
        line = f"{finding.kind}: {finding.text}" + (finding.line and f" Try: {finding.line}")
        if finding.severity == ERROR:
            raise UserError(
                f"{line} (`fcnjax data check` checks the whole dataset; --config.data.check=false "
                "trains nevertheless)"
            )
        if finding.severity == WARNING:
            log(f"warning: {line}")
