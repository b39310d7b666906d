"""Lines that a training prints at its start and at its end."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax.optim import make_schedule
from fcnjax.reports import REPORT_FILE
from fcnjax.training.checkpoint_manifest import Manifest
from fcnjax.training.resume import PreparedRun
from fcnjax.training.state import TrainState


def describe_start(
    prepared: PreparedRun,
    mesh: Mesh,
    state: TrainState,
    num_images: int,
    parts: Sequence[str],
    is_done: bool,
) -> list[str]:
    """Return a line about the run, and one about its learning rate if `train.steps` was raised.

    Args:
        prepared: The run.
        mesh: The devices.
        state: The state from which training starts.
        num_images: Number of training images.
        parts: Phrases about frozen parts and multiplied learning rates.
        is_done: Whether no steps are left.
    """
    config, step = prepared.config, int(state.step)
    count = sum(leaf.size for leaf in jax.tree.leaves(state.variables["params"]))
    device = mesh.devices.flat[0].device_kind
    sizes = [f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1]
    axes = f" ({', '.join(sizes)})" if len(sizes) > 1 else ""
    begin = f"resuming at step {step}" if step else "starting"
    if is_done:
        begin = f"trained already, to step {step}"
    details = "".join(f"; {part}" for part in parts)
    if config.train.accumulate > 1:
        details += f"; batches of {config.train.batch_size} in {config.train.accumulate} parts"
    line = (
        f"{begin}: {config.model.decoder} on {config.model.encoder}, {count / 1e6:.2f} M "
        f"parameters{details}; {num_images} images, {len(config.data.class_names)} classes; "
        f"{mesh.size} x {device}{axes}; {prepared.workdir}"
    )
    if is_done or prepared.saved is None:
        return [line]
    return [line, *describe_schedule_change(config, prepared.saved, step)]


def describe_schedule_change(config: ConfigDict, saved: ConfigDict, step: int) -> list[str]:
    """Return a line if a larger `train.steps` changes the learning rate.

    Args:
        config: The config of the resumed run.
        saved: Its config before.
        step: The step from which training continues.

    Returns:
        The line; none if the next step has the same learning rate as before.
    """
    now, before = (float(make_schedule(each)(step)) for each in (config, saved))
    if math.isclose(now, before):
        return []
    return [
        f"note: config.train.steps is {config.train.steps} now ({saved.train.steps} before): the "
        f"{config.optim.schedule} schedule gives lr {now:.4g} after step {step}, "
        f"it was {before:.4g}"
    ]


def describe_end(
    best: Manifest | None, best_metric: str, workdir: str | Path, step: int
) -> list[str]:
    """Return lines about the best step, the report and the commands to run next.

    Args:
        best: The manifest of the best checkpoint; None if there is no checkpoint.
        best_metric: The metric that determines it; "" for none.
        workdir: The workdir.
        step: The last step, which the report shows.
    """
    option = f"--model={shlex.quote(str(workdir))}"
    predict = f"next: fcnjax predict IMAGE {option} --out=masks"
    report = f"{Path(workdir) / REPORT_FILE}"
    if best is None or (score := best.metrics.get(best_metric)) is None:
        return [f"report: {report}", predict]
    text = f"best step {best.step} ({best_metric} {score:.4g})"
    if best.step == step:
        return [f"{text}; report: {report}", predict]
    return [
        f"{text}; report of step {step}: {report}",
        f"{predict}  # uses step {best.step}",
        f"next: fcnjax evaluate {option}  # scores step {best.step} and writes its report",
    ]
