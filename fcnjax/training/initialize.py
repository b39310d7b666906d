"""Where training starts from: `config.model.init_from`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.errors import UserError
from fcnjax.inference import load_variables
from fcnjax.models import build_model
from fcnjax.models.pretrained import convert
from fcnjax.models.pretrained.cache import read_tensors
from fcnjax.models.pretrained.sources import IMAGENET_MEAN, IMAGENET_STD, fetch_weights
from fcnjax.training.workdir import load_saved_config


def with_normalisation(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Returns a copy of the config that normalises as the weights it starts from were trained.

    Weights that do not tell are taken to be trained as ImageNet's are.

    Raises:
        UserError: `init_from` is not there or cannot be fetched; says what is valid or what to do.
    """
    source, prefix = config.model.init_from, config.model.init_prefix
    if source is None:
        if prefix is not None:
            raise UserError(f"config.model.init_prefix: {prefix!r} needs config.model.init_from")
        return config, []
    weights = fetch_weights(source)
    if weights.is_model and prefix is not None:
        raise UserError(
            f"config.model.init_prefix: {prefix!r} is for files of torch, and {source} is a model "
            "of fcnjax; valid: None"
        )
    config = config.copy_and_resolve_references()
    if "://" not in source:
        config.model.init_from = str(Path(source).absolute())
    if weights.is_model:
        data = load_saved_config(weights.path).data
        wanted = {"mean": tuple(data.mean), "std": tuple(data.std)}
        notes = _scale_notes(source, data.pixel_type, config.data.pixel_type)
    else:
        wanted = {"mean": weights.mean or IMAGENET_MEAN, "std": weights.std or IMAGENET_STD}
        notes = []
    for key, value in wanted.items():
        if (
            len(value) == len(channel_names(config.data.channels))
            and tuple(config.data[key]) != value
        ):
            notes.append(f"config.data.{key} is {value}, as the weights of {source} were trained")
            config.data[key] = value
    return config, notes


def _scale_notes(source: str, pixel_type: str | None, own: str | None) -> list[str]:
    """The line on weights that were trained on another pixel type than the run has."""
    if None in (pixel_type, own) or pixel_type == own:
        return []
    scales = {"uint8": "divided by 255", "uint16": "divided by 65535", "float32": "not scaled"}
    return [
        f"warning: the weights of {source} were trained on {pixel_type} pixels "
        f"({scales[pixel_type]}), and this run has {own} ({scales[own]}); where their values are "
        f"the same, --config.data.pixel_type={pixel_type} keeps the scale"
    ]


def initial_variables(
    config: ConfigDict, variables: dict[str, Any], log: Callable[[str], None]
) -> dict[str, Any]:
    """Fills a model's drawn variables from `config.model.init_from`.

    Weights of torch fill the encoder, and the decoder and heads where they are of the same model. A
    workdir or a published model fills all that has the same name and shape. What scores other
    classes stays as drawn. All is reported through `log`, tensor by tensor where one was changed,
    not used or not filled.

    Raises:
        UserError: The weights cannot be read, or nothing in them fits.
    """
    weights = fetch_weights(config.model.init_from)
    if weights.is_model:
        return _from_model(weights.path, variables, log)
    source, names = weights.source, (config.model.encoder, config.model.decoder)
    tensors = read_tensors(weights)
    variables, report = convert(
        tensors,
        variables,
        build_model(config),
        names,
        source=source,
        prefix=config.model.init_prefix,
    )
    # An encoder's file fills no decoder, which needs no telling; a whole model's might in part.
    rest = [path for path in traverse_util.flatten_dict(variables) if path[1] != "encoder"]
    unfilled = [name for name in report.missing if name.split("/")[1] != "encoder"]
    alone = len(unfilled) == len(rest)
    missing = [name for name in report.missing if not alone or name not in unfilled]
    what = "encoder" if alone else f"decoder {names[1]} and encoder"
    log(f"{source}: {len(report.used)} tensors fill {what} {names[0]}")
    for line in (*report.prefix_lines, *report.adapted):
        log(f"{source}: {line}")
    counters = "num_batches_tracked"  # of torch's batch norms; nothing here needs them
    unused = [name for name in report.unused if not name.endswith(counters)]
    for what, left in (("not used", unused), ("left as drawn", missing)):
        if left:
            log(f"{source}: {len(left)} {what}: {', '.join(left)}")
    return variables


def _from_model(
    source: Path, variables: dict[str, Any], log: Callable[[str], None]
) -> dict[str, Any]:
    _, _, found, step = load_variables(source)
    found = traverse_util.flatten_dict(jax.device_get(found), sep="/")
    flat = traverse_util.flatten_dict(variables, sep="/")
    fits = {
        name: jnp.asarray(found[name])
        for name, value in flat.items()
        if name in found and found[name].shape == value.shape
    }
    if not fits:
        raise UserError(f"config.model.init_from: nothing in {source} fits this model")
    log(f"{source}: {len(fits)} arrays of step {step} used")
    for what, names in (
        ("not used", found.keys() - fits.keys()),
        ("left as drawn", flat.keys() - fits.keys()),
    ):
        if names:
            log(f"{source}: {len(names)} {what}: {', '.join(sorted(names))}")
    return traverse_util.unflatten_dict(flat | fits, sep="/")
