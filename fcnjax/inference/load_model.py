"""Loading models from workdirs, published folders, the hub and exported programs."""

from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.export.program import ExportSource
from fcnjax.inference.engines import ENGINES, XLA, check_engine, with_engine
from fcnjax.inference.exported import load_exported
from fcnjax.inference.identity import PROGRAM_FILE, FoundModel, find_exported, find_model
from fcnjax.inference.model import Model
from fcnjax.models import build_model, make_fold_fn
from fcnjax.models.pretrained.model_folder import read_variables
from fcnjax.optim import has_average
from fcnjax.runtime.packages import to_stderr
from fcnjax.training.state import init_variables
from fcnjax.training.step import make_predict_step


def make_model(config: ConfigDict, model: nn.Module, variables: dict[str, Any], step: int) -> Model:
    """Return a model of a module and its variables, on the first device."""
    variables = make_fold_fn(model)(jax.device_put(variables, jax.local_devices()[0]))
    return Model(config, make_predict_step(model, config), variables, step)


def load_variables(
    workdir: str | Path,
    step: str | int = "best",
    dtype: str | None = None,
    sharding: jax.sharding.Sharding | None = None,
    resize: str | None = None,
) -> tuple[ConfigDict, nn.Module, dict[str, Any], int]:
    """Load the config, module, inference variables and step of a workdir or a published model.

    Args:
        workdir: As `find_model` takes it, but not an exported program.
        step: Checkpoint: `best`, `latest` or a step. A published model has one.
        dtype: Type of the computation, `float32` or `bfloat16`, or None for that of the training.
        sharding: Sharding of the variables, or None for the first device.
        resize: The size at which the model sees images, as `load` takes it.

    Raises:
        UserError: There is no such model or complete checkpoint, or its arrays do not fit its
            config.
    """
    return load_found(find_model(workdir, dtype, resize), workdir, step, sharding)


def load_found(
    model: FoundModel,
    workdir: str | Path,
    step: str | int = "best",
    sharding: jax.sharding.Sharding | None = None,
) -> tuple[ConfigDict, nn.Module, dict[str, Any], int]:
    """Load what `load_variables` does of a model that was found before.

    Args:
        model: From `find_model`.
        workdir: As `load_variables` takes it, for messages.
        step: As `load_variables` takes it.
        sharding: As `load_variables` takes it.

    Raises:
        UserError: As `load_variables`.
    """
    folder, config, file, published = model
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if published:
        if step not in ("best", "latest"):
            raise UserError(f"{workdir}: has no steps; valid: best")
        # Imported here, since the models of fcnjax itself do not need them.
        from fcnjax.published import read_published
        from fcnjax.published.catalogue import licence_note

        if note := licence_note(str(workdir)):
            to_stderr(note)
        _, module, variables = read_published(published, to_stderr, config.model.dtype)
        return config, module, jax.device_put(variables, sharding), 0
    if file is not None and file.name == PROGRAM_FILE:
        raise UserError(
            f"{folder}: is an exported program, which has no weights; give the workdir that it was "
            "made from"
        )
    if config.data.pixel_type is None:
        to_stderr(
            f"note: {workdir} does not record the pixel type that it was trained on; images of "
            "another type give a wrong mask. A model that is trained now records it"
        )
    module = build_model(config)
    if file is not None:
        like = jax.eval_shape(lambda: init_variables(module, config))
        variables, stored = read_variables(file, like)
        if step not in ("best", "latest", stored):
            raise UserError(f"{workdir}: holds step {stored} alone; valid: best, {stored}")
        return config, module, jax.device_put(variables, sharding), stored
    variables, restored = _restore(folder, config, module, step, sharding)
    return config, module, variables, restored


def _restore(
    workdir: Path,
    config: ConfigDict,
    model: nn.Module,
    step: str | int,
    sharding: jax.sharding.Sharding,
) -> tuple[dict[str, Any], int]:
    # A published model is loaded without Orbax, whose import takes long.
    from fcnjax.training.checkpoint import Checkpoints

    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(lambda: init_variables(model, config)),
    )
    checkpoints = Checkpoints(workdir, best_metric=config.eval.best_metric, read_only=True)
    try:
        return checkpoints.restore_variables(shapes, average=has_average(config), step=step)
    finally:
        checkpoints.close()


def load(
    model: str | Path,
    step: str | int = "best",
    dtype: str | None = None,
    resize: str | None = None,
    engine: str = XLA,
) -> Model:
    """Load a trained, published or exported model.

    Args:
        model: A folder that `fcnjax train`, `fcnjax publish` or `fcnjax export --format=stablehlo`
            wrote; a folder in the layout of transformers or segmentation_models.pytorch;
            `hf://OWNER/REPO` with such a model; or `torchvision://MODEL/WEIGHTS`.
        step: Checkpoint: `best`, `latest` or a step.
        dtype: Type of the computation, `float32` or `bfloat16`, or None for that of the training.
        resize: The size at which the model sees images. None resizes them as the model was
            published, without cropping; `original` crops them too, `native` leaves their size;
            `512` scales the shorter side to it, and `512x640` gives height and width.
        engine: What computes, from `engines.CHOICES`: `xla`; `openvino` or `onnxruntime`, which are
            faster on a CPU; or `auto`.

    Returns:
        A model: `model(image)` predicts an image.

    Raises:
        UserError: There is no such model or complete checkpoint, or the engine cannot run it.
    """
    check_engine(engine)
    if exported := find_exported(model):
        if engine in ENGINES:
            raise UserError(f"--engine: {model} is an exported program of XLA; valid: xla, auto")
        if resize not in (None, "original"):
            raise UserError(f"--resize: {model} is an exported program, whose size is fixed")
        return load_exported(*exported, step, dtype)
    loaded = load_variables(model, step, dtype, resize=resize)
    source = ExportSource(*loaded, loaded[0].data.pixel_type or "uint8", ())
    return with_engine(make_model(*loaded), source, engine)
