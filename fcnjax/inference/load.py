"""Models from where they are kept: workdirs, published folders, the hub, exported programs."""

from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.inference.exported import load_exported
from fcnjax.inference.identity import PROGRAM_FILE, find_exported, find_model
from fcnjax.inference.model import Model
from fcnjax.models import build_model, make_fold_fn
from fcnjax.models.pretrained.model_file import read_variables
from fcnjax.optim import has_average
from fcnjax.runtime.packages import to_stderr
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.state import TrainState, init_variables
from fcnjax.training.step import make_predict_step


def make_model(config: ConfigDict, model: nn.Module, variables: dict[str, Any], step: int) -> Model:
    """A model of a module and its variables, on the first device, as inference uses them."""
    variables = make_fold_fn(model)(jax.device_put(variables, jax.local_devices()[0]))
    return Model(config, make_predict_step(model, config), variables, step)


def load_variables(
    workdir: str | Path,
    step: str | int = "best",
    dtype: str | None = None,
    sharding: jax.sharding.Sharding | None = None,
) -> tuple[ConfigDict, nn.Module, dict[str, Any], int]:
    """Reads a workdir or a published model: its config, module, inference variables and their step.

    Args:
        workdir: A folder that `fcnjax train` or `fcnjax publish` made, or `hf://OWNER/REPO`.
        step: Which checkpoint: `best`, `latest` or a step; a published model has one.
        dtype: Of the computation, `float32` or `bfloat16`; None: as it was trained.
        sharding: Of the variables; None: on the first device.

    Raises:
        UserError: It is neither, has no such whole checkpoint, or arrays that do not fit its
            config.
    """
    folder, config, file = find_model(workdir, dtype)
    if file is not None and file.name == PROGRAM_FILE:
        raise UserError(
            f"{folder}: is an exported program, without weights to take; give the workdir that it "
            "was made from"
        )
    if config.data.pixel_type is None:
        to_stderr(
            f"note: {workdir} does not say on which pixel type it was trained, and images of "
            "another type than those give a wrong mask; a model that is trained anew says it"
        )
    model = build_model(config)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if file is not None:
        like = jax.eval_shape(lambda: init_variables(model, config))
        variables, found = read_variables(file, like)
        if step not in ("best", "latest", found):
            raise UserError(f"--step: {workdir} holds step {found} alone; valid: best, {found}")
        return config, model, jax.device_put(variables, sharding), found
    variables, found = _restore(folder, config, model, step, sharding)
    return config, model, variables, found


def _restore(
    workdir: Path,
    config: ConfigDict,
    model: nn.Module,
    step: str | int,
    sharding: jax.sharding.Sharding,
) -> tuple[dict[str, Any], int]:
    variables = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(lambda: init_variables(model, config)),
    )
    average = variables if has_average(config) else None
    like = TrainState(step=None, variables=variables, opt_state=None, ema=average)
    checkpoints = Checkpoints(workdir, best_metric=config.eval.best_metric, read_only=True)
    try:
        return checkpoints.restore_inference(like, step)
    finally:
        checkpoints.close()


def load(workdir: str | Path, step: str | int = "best", dtype: str | None = None) -> Model:
    """Loads a trained model from a workdir, or a published or exported one.

    Args:
        workdir: A folder that `fcnjax train`, `fcnjax publish` or `fcnjax export
            --format=stablehlo` made, or `hf://OWNER/REPO`.
        step: Which checkpoint: `best`, `latest` or a step.
        dtype: Of the computation, `float32` or `bfloat16`; None: as it was trained.

    Returns:
        A model; `model(image)` labels an image.

    Raises:
        UserError: It is none of these, or has no such whole checkpoint.
    """
    if found := find_exported(workdir):
        return load_exported(*found, step, dtype)
    return make_model(*load_variables(workdir, step, dtype))


def parse_step(text: str) -> str | int:
    """The checkpoint that `--step` names: `best`, `latest` or a number."""
    if text in ("best", "latest"):
        return text
    if not text.isdigit():
        raise UserError(f"--step: {text!r} is not best, latest or a step")
    return int(text)
