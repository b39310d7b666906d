"""The training loop. A newcomer reads this file first."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.data.loading import pipeline
from fcnjax.errors import UserError
from fcnjax.evaluation import Evaluator, Results, with_split, write_results
from fcnjax.io.atomic_files import remove_leftovers
from fcnjax.io.lock_file import lock_workdir
from fcnjax.io.terminal import print_progress
from fcnjax.models import build_model
from fcnjax.optim import check_parts, make_optimizer, make_schedule
from fcnjax.parallel.mesh import (
    check_batch_size,
    check_height,
    make_mesh,
    needs_sync,
    prefetch,
    process_shard,
    replicated,
    state_shardings,
)
from fcnjax.parallel.processes import reached_preemption
from fcnjax.runtime.stop_signals import collected
from fcnjax.training.accumulate import check_accumulate
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.config_checks import check_config
from fcnjax.training.early_stopping import Patience
from fcnjax.training.initialize import initial_variables
from fcnjax.training.metric_writer import MetricWriter, as_floats, mean_metrics
from fcnjax.training.resume import prepare_run
from fcnjax.training.state import (
    FAST_COMPILE_OPTIONS,
    TrainState,
    init_state,
    init_variables,
    param_shapes,
    state_shapes,
)
from fcnjax.training.step import make_train_step
from fcnjax.training.workdir import WRITTEN
from fcnjax.validate import ERROR, WARNING, quick_check


class TrainingStopped(Exception):
    """Training ended before its last step; `code` is the process's exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def train(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Trains as `config` says, from the workdir's newest whole checkpoint if it has one.

    Returns:
        The metrics of the last evaluation, such as `{"mean_iou": 0.81, "dice/vessel": 0.8}`.

    Raises:
        UserError: The config, the data or the workdir is not usable.
        TrainingStopped: A signal came (the state was saved), or the loss is not finite.
    """
    workdir = Path(workdir)
    main_process = jax.process_index() == 0
    log = print_progress if main_process else lambda line: None
    lock = lock_workdir(workdir, log) if main_process else contextlib.nullcontext()
    with lock as held:
        return _train(config, workdir, log, held.mark_ending if held else lambda: None)


def _train(
    config: ConfigDict,
    workdir: Path,
    log: Callable[[str], None],
    mark_ending: Callable[[], None],
) -> dict[str, float]:
    """Trains in a workdir that this process, or process 0 of several, has locked.

    Args:
        config: As of `train`.
        workdir: As of `train`.
        log: Takes the lines for the user.
        mark_ending: Called when a signal came and the state is about to be saved.
    """
    main_process = jax.process_index() == 0
    if main_process:
        remove_leftovers(workdir / name for name in WRITTEN)
    run = prepare_run(config, workdir)
    config = run.config
    check_config(config)
    mesh = make_mesh(config)
    check_batch_size(config.train.batch_size, mesh, "config.train.batch_size")
    check_accumulate(config, mesh, config.train.batch_size)
    check_height(config.augment.crop[0], mesh)
    model, optimizer = build_model(config), make_optimizer(config)
    parts = check_parts(config, lambda: param_shapes(model, config))
    source = data.open_source(config, "train", run.sets)
    evaluator = Evaluator(model, config, mesh, data.open_source(config, "eval", run.sets))
    train_step = make_train_step(model, optimizer, config, mesh)
    for note in run.notes:
        log(note)
    if config.data.check and run.is_new and main_process:
        refuse_faults(config, log)

    split = run.claim()
    checkpoints = Checkpoints(
        workdir, keep=config.train.keep, best_metric=config.eval.best_metric, log=log
    )
    with contextlib.closing(checkpoints):
        state, progress = restore_or_init(checkpoints, model, optimizer, config, mesh, log)
        patience, step = Patience(config, progress), int(state.step)
        done = step >= config.train.steps or patience.is_over
        log(describe(config, mesh, state, source, workdir, parts, done))
        if not done:
            batches = device_batches(source, config, mesh, int(state.step))
            writer = MetricWriter(
                workdir,
                config.train.steps,
                tensorboard=config.train.tensorboard,
                start_step=int(state.step),
                enabled=main_process,
            )
            with contextlib.closing(batches), contextlib.closing(writer):
                results, step = loop(
                    config,
                    mesh,
                    state,
                    train_step,
                    batches,
                    evaluator,
                    checkpoints,
                    writer,
                    patience,
                    progress.get("window", ()),
                    mark_ending,
                )
        else:
            results = evaluator(state.inference_variables)
        if patience.is_over and step < config.train.steps:
            log(f"stopped early, at step {step} of {config.train.steps}: {patience}")
    if main_process:
        results = with_split(results, split, config, run.sets[0].sources["eval"])
        write_results(workdir, config, results, step)
    return results.summary


def loop(
    config: ConfigDict,
    mesh: Mesh,
    state: TrainState,
    train_step: Callable,
    batches: Iterator[dict],
    evaluator: Evaluator,
    checkpoints: Checkpoints,
    writer: MetricWriter,
    patience: Patience,
    window: Sequence[dict[str, float]],
    mark_ending: Callable[[], None],
) -> tuple[Results, int]:
    """Steps from the state's own step to the last, or to the end of the patience.

    A run that was stopped by a signal logs the same lines as one that was not: the metrics of the
    steps since its last line are in the checkpoint, as `window`.

    Returns:
        The evaluation of the state there, and its step.
    """
    schedule, wait, alone = make_schedule(config), needs_sync(mesh), jax.process_count() == 1
    window, since, logged = list(window), time.perf_counter(), int(state.step)
    # With several processes JAX catches SIGTERM, and finds the step at which all of them stop.
    with collected(mark_ending) if alone else contextlib.nullcontext([]) as caught:
        for step in range(int(state.step) + 1, config.train.steps + 1):
            state, metrics = train_step(state, next(batches))
            window.append(jax.block_until_ready(metrics) if wait else metrics)
            last = step == config.train.steps
            # Read once: a signal that comes later in this step is met in the next.
            stop = bool(caught) if alone else reached_preemption(step)
            evaluate = last or (config.eval.every and step % config.eval.every == 0)
            due = evaluate or step % config.train.save_every == 0
            log_due = due or step % config.train.log_every == 0
            if not (log_due or stop):
                continue

            # Reading the metrics waits for the devices: only now and then.
            window = jax.device_get(window)
            values = mean_metrics(window)
            stop_on_nan(values, step)
            results = evaluator(state.inference_variables) if evaluate else None
            if results is not None:
                patience.update(results.summary)
            if log_due:
                seconds = max(time.perf_counter() - since, 1e-9)
                values["lr"] = float(schedule(step - 1))
                images = (step - logged) * config.train.batch_size
                values["images_per_second"] = images / seconds
                if results is not None:
                    values |= {f"eval/{name}": v for name, v in results.summary.items()}
                writer.write(step, values)
                window, logged = [], step
            if due or stop:
                progress = {"batches": step, **patience.as_progress}
                if window:
                    progress["window"] = [as_floats(one) for one in window]
                checkpoints.save(state, progress, results.summary if results else None)
            if patience.is_over:
                break
            if stop and not last:
                mark_ending()
                checkpoints.wait()
                number = caught[0] if caught else signal.SIGTERM  # perhaps another process's
                raise TrainingStopped(
                    f"stopped by {number.name} at step {step}; the checkpoint is saved, and "
                    "the same command goes on from it",
                    128 + number,
                )
            since = time.perf_counter()
    return results, step


def refuse_faults(config: ConfigDict, log: Callable[[str], None]) -> None:
    """Looks at some of the examples and says what is wrong with them.

    Raises:
        UserError: Something without which training makes no sense.
    """
    for finding in quick_check(config):
        line = f"{finding.kind}: {finding.text}" + (finding.line and f" Try: {finding.line}")
        if finding.severity == ERROR:
            raise UserError(
                f"{line} (`fcnjax data check` tells all of the set; --config.data.check=false "
                "trains nevertheless)"
            )
        if finding.severity == WARNING:
            log(f"warning: {line}")


def restore_or_init(
    checkpoints: Checkpoints,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    mesh: Mesh,
    log: Callable[[str], None] = print,
) -> tuple[TrainState, dict]:
    """The newest whole checkpoint's state, else a fresh one, laid on the mesh; and its progress."""
    shapes = state_shapes(model, optimizer, config)
    like = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_shardings(shapes, mesh),
    )
    restored = checkpoints.restore(like)
    if restored is None:
        return fresh_state(model, optimizer, config, mesh, log), {}
    return restored


def fresh_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    mesh: Mesh,
    log: Callable[[str], None] = print,
) -> TrainState:
    """The state before the first step, laid on the mesh."""
    whole, once = replicated(mesh), dict(FAST_COMPILE_OPTIONS)
    placed = state_shardings(state_shapes(model, optimizer, config), mesh)
    draw = jax.jit(
        lambda: init_variables(model, config), out_shardings=whole, compiler_options=once
    )
    start = jax.jit(
        lambda variables: init_state(variables, optimizer, config),
        out_shardings=placed,
        compiler_options=once,
    )
    variables = draw()
    if config.model.init_from is not None:
        variables = initial_variables(config, jax.device_get(variables), log)
    return start(jax.device_put(variables, whole))


def device_batches(
    source: data.Source, config: ConfigDict, mesh: Mesh, start: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields training batches on the devices, from global batch `start` on."""
    place = process_shard(mesh)
    if config.data.loading.cache != "device":
        batches = pipeline.train_batches(source, config, start, **place)
        with contextlib.closing(batches):
            yield from prefetch(batches, mesh)
        return
    whole = pipeline.load_all(source, config.data.ignore_label)
    cache = {
        f"{name}s": jax.device_put(whole[name], replicated(mesh)) for name in ("image", "label")
    }
    places = (whole["label"], whole["extent"])
    for batch in prefetch(pipeline.index_batches(source, config, start, *places, **place), mesh):
        yield {**batch, **cache}


def stop_on_nan(values: dict[str, float], step: int) -> None:
    """Raises TrainingStopped where the loss or the gradient is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingStopped(
                f"{name} is {value} at step {step}: training cannot go on; the checkpoints are "
                "those before it. Try a lower config.optim.lr, config.optim.clip_norm=1, or "
                "config.optim.warmup_steps.",
                1,
            )


def describe(
    config: ConfigDict,
    mesh: Mesh,
    state: TrainState,
    source: data.Source,
    workdir: Path,
    parts: list[str],
    done: bool,
) -> str:
    """One line on what is about to be trained, or is `done`; `parts`: what is frozen of it."""
    count = sum(leaf.size for leaf in jax.tree.leaves(state.variables["params"]))
    device = mesh.devices.flat[0].device_kind
    sizes = {axis: size for axis, size in mesh.shape.items() if size > 1}
    axes = ", ".join(f"{axis} {size}" for axis, size in sizes.items()) if len(sizes) > 1 else ""
    start = int(state.step)
    begin = f"resuming at step {start}" if start else "starting"
    if done:
        begin = f"trained already, to step {start}"
    own = "".join(f"; {words}" for words in parts)
    if config.train.accumulate > 1:
        own += f"; batches of {config.train.batch_size} in {config.train.accumulate} parts"
    return (
        f"{begin}: {config.model.decoder} on {config.model.encoder}, {count / 1e6:.2f} M "
        f"parameters{own}; {len(source)} images, {len(config.data.class_names)} classes; "
        f"{mesh.size} x {device}{axes and f' ({axes})'}; {workdir}"
    )
