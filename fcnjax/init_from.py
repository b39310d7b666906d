"""Where training starts from: `config.model.init_from`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.models.pretrained import load_pretrained
from fcnjax.predict import load_variables
from fcnjax.workdir import CONFIG_FILE, load_saved_config

# Of torchvision's, timm's and segmentation_models.pytorch's ImageNet weights; pixels in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def with_normalisation(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Returns a copy of the config that normalises as the weights it starts from were trained.

    Raises:
        UserError: `init_from` is neither a file nor a workdir.
    """
    source = config.model.init_from
    if source is None:
        return config, []
    path = Path(source)
    if "://" in source or not path.exists():
        raise UserError(
            f"config.model.init_from: {source!r} is not there; valid: a .pth, .pt, .ckpt or "
            ".safetensors file, or a workdir of fcnjax"
        )
    config = config.copy_and_resolve_references()
    config.model.init_from = str(path.absolute())
    if (path / CONFIG_FILE).is_file():
        data = load_saved_config(path).data
        wanted = {"mean": tuple(data.mean), "std": tuple(data.std)}
    else:
        wanted = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    notes = []
    for key, value in wanted.items():
        if len(value) == len(config.data.channels) and tuple(config.data[key]) != value:
            notes.append(f"config.data.{key} is {value}, as the weights of {source} were trained")
            config.data[key] = value
    return config, notes


def initial_variables(
    config: ConfigDict, variables: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """Fills a model's drawn variables from `config.model.init_from`.

    A file of torch weights fills the encoder. A workdir fills all that has the same name and shape:
    a head for other classes stays as drawn. Both are reported through `say`, tensor by tensor where
    one was not used or not filled.

    Raises:
        UserError: The file cannot be read, or nothing in it fits.
    """
    source = Path(config.model.init_from)
    if (source / CONFIG_FILE).is_file():
        return _from_workdir(source, variables, say)
    variables, report = load_pretrained(variables, str(source), config)
    say(f"{source}: {len(report.used)} tensors fill encoder {config.model.encoder}")
    for line in report.adapted:
        say(f"{source}: {line}")
    counters = "num_batches_tracked"  # of torch's batch norms; nothing here needs them
    unused = [name for name in report.unused if not name.endswith(counters)]
    missing = [name for name in report.missing if name.split("/")[1] == "encoder"]
    for what, names in (("not used", unused), ("left as drawn", missing)):
        if names:
            say(f"{source}: {len(names)} {what}: {', '.join(names)}")
    return variables


def _from_workdir(
    source: Path, variables: dict[str, Any], say: Callable[[str], None]
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
    say(f"{source}: {len(fits)} arrays of step {step} used")
    for what, names in (
        ("not used", found.keys() - fits.keys()),
        ("left as drawn", flat.keys() - fits.keys()),
    ):
        if names:
            say(f"{source}: {len(names)} {what}: {', '.join(sorted(names))}")
    return traverse_util.unflatten_dict(flat | fits, sep="/")
