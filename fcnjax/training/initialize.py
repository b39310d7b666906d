"""The state from which training starts: restored, drawn, or filled from `model.init_from`."""

import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from flax import traverse_util
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.labels.class_match import ClassMatch
from fcnjax.errors import UserError
from fcnjax.inference import load_variables
from fcnjax.inference.identity import find_model
from fcnjax.io.terminal import LogFn
from fcnjax.models import build_model
from fcnjax.models.pretrained import convert
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources import IMAGENET_MEAN, IMAGENET_STD, fetch_weights
from fcnjax.parallel.mesh import replicated, state_shardings
from fcnjax.parallel.processes import broadcast_from_primary
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.state import (
    FAST_COMPILE_OPTIONS,
    Optimizer,
    TrainState,
    init_state,
    init_variables,
    state_shapes,
)

PIXEL_SCALES = {"uint8": "divided by 255", "uint16": "divided by 65535", "float32": "not scaled"}


def restore_or_init(
    checkpoints: Checkpoints,
    model: nn.Module,
    optimizer: Optimizer,
    config: ConfigDict,
    mesh: Mesh,
    log: LogFn = print,
) -> tuple[TrainState, dict]:
    """Return the state of the newest intact checkpoint and its progress, or a new state and {}."""
    restored = None
    if broadcast_from_primary(lambda: len(checkpoints.steps())):
        shapes = state_shapes(model, optimizer, config)
        shapes = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            state_shardings(shapes, mesh),
        )
        restored = checkpoints.restore(shapes)
    return restored or (new_state(model, optimizer, config, mesh, log), {})


def new_state(
    model: nn.Module, optimizer: Optimizer, config: ConfigDict, mesh: Mesh, log: LogFn = print
) -> TrainState:
    """Return the state before the first step, sharded over the mesh."""
    shardings = everywhere = replicated(mesh)
    if mesh.shape["fsdp"] > 1:
        shardings = state_shardings(state_shapes(model, optimizer, config), mesh)
    jit = functools.partial(jax.jit, compiler_options=dict(FAST_COMPILE_OPTIONS))
    variables = jit(lambda: init_variables(model, config), out_shardings=everywhere)()
    if config.model.init_from is not None:
        variables = initial_variables(config, jax.device_get(variables), log)
    start = jit(lambda values: init_state(values, optimizer, config), out_shardings=shardings)
    return start(jax.device_put(variables, everywhere))


def with_normalisation(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Return a copy of the config with the normalisation of the weights in `model.init_from`.

    Weights that do not state theirs are assumed to have ImageNet's.

    Returns:
        The config, and lines about the keys that were changed.

    Raises:
        UserError: `init_from` does not exist or cannot be fetched.
    """
    source, prefix = config.model.init_from, config.model.init_prefix
    if source is None:
        if prefix is not None:
            raise UserError(f"config.model.init_prefix: {prefix!r} needs config.model.init_from")
        return config, []
    weights = fetch_weights(source)
    if weights.is_model and prefix is not None:
        raise UserError(
            f"config.model.init_prefix: {prefix!r} is for files of weights, and {source} is an "
            "entire model; valid: None"
        )
    config = config.copy_and_resolve_references()
    if "://" not in source:
        config.model.init_from = str(Path(source).absolute())
    notes = []
    normalisation = {"mean": weights.mean or IMAGENET_MEAN, "std": weights.std or IMAGENET_STD}
    if weights.is_model:
        data = find_model(weights.path).config.data
        normalisation = {"mean": tuple(data.mean), "std": tuple(data.std)}
        trained, present = data.pixel_type, config.data.pixel_type
        if None not in (trained, present) and trained != present:
            notes.append(
                f"warning: the weights of {source} were trained on {trained} pixels "
                f"({PIXEL_SCALES[trained]}), and this run has {present} ({PIXEL_SCALES[present]}); "
                f"if their values are the same, --config.data.pixel_type={trained} keeps the scale"
            )
    channels = len(channel_names(config.data.channels))
    for key, value in normalisation.items():
        if len(value) == channels and tuple(config.data[key]) != value:
            notes.append(f"config.data.{key} is {value}, as the weights of {source} were trained")
            config.data[key] = value
    return config, notes


def initial_variables(config: ConfigDict, variables: dict[str, Any], log: LogFn) -> dict[str, Any]:
    """Fill a model's random variables from `config.model.init_from`.

    PyTorch weights fill the encoder, and the decoder and heads if they are of the same model. A
    workdir or a published model fills all variables of the same name and shape; of a layer with one
    output for each class, those of the classes of the same names. The others stay random. `log`
    receives what was used, and each tensor that was changed, not used or not filled.

    Raises:
        UserError: The weights cannot be read, or none of them fits.
    """
    weights = fetch_weights(config.model.init_from)
    if weights.is_model:
        return _from_model(weights.path, config, variables, log)
    source, names = weights.source, (config.model.encoder, config.model.decoder)
    tensors, prefix = read_tensors(weights), config.model.init_prefix
    variables, report = convert(
        tensors, variables, build_model(config), names, source=source, prefix=prefix
    )
    # The file of an encoder fills nothing else, which is not worth a line. That of an entire model
    # may fill only some of it.
    rest = [path for path in traverse_util.flatten_dict(variables) if path[1] != "encoder"]
    missing = [name for name in report.missing if name.split("/")[1] == "encoder"]
    encoder_only = len(report.missing) - len(missing) == len(rest)
    if not encoder_only:
        missing = report.missing
    target = "encoder" if encoder_only else f"decoder {names[1]} and encoder"
    log(f"{source}: {len(report.used)} tensors fill {target} {names[0]}")
    for line in (*report.prefix_lines, *report.adapted):
        log(f"{source}: {line}")
    # PyTorch's batch norms have counters, which are not needed here.
    unused = [name for name in report.unused if not name.endswith("num_batches_tracked")]
    _log_leftovers(source, unused, missing, log)
    return variables


def _from_model(
    source: Path, config: ConfigDict, variables: dict[str, Any], log: LogFn
) -> dict[str, Any]:
    saved, _, trained, step = load_variables(source)
    trained = traverse_util.flatten_dict(jax.device_get(trained), sep="/")
    flat = traverse_util.flatten_dict(variables, sep="/")
    classes = ClassMatch(saved.data.class_names, config.data.class_names)
    used, by_class = {}, []
    for name, value in flat.items():
        if name not in trained:
            continue
        if classes.is_by_class(name, trained[name].shape, value.shape):
            used[name] = classes.copy(trained[name], value)
            by_class.append(name)
        elif trained[name].shape == value.shape:
            used[name] = trained[name]
    if not used:
        raise UserError(f"config.model.init_from: nothing in {source} fits this model")
    used = jax.device_put(used)
    log(f"{source}: {len(used)} arrays of step {step} used")
    if by_class:
        log(f"{source}: {classes.description}")
    _log_leftovers(source, sorted(trained.keys() - used), sorted(flat.keys() - used), log)
    return traverse_util.unflatten_dict(flat | used, sep="/")


def _log_leftovers(
    source: object, unused: Collection[str], missing: Collection[str], log: LogFn
) -> None:
    for description, names in (("not used", unused), ("left random", missing)):
        if names:
            log(f"{source}: {len(names)} {description}: {', '.join(names)}")
