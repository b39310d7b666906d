"""Model folders: workdirs, and the config and weights that `fcnjax publish` and `export` write.

`model.safetensors` is readable from other languages too. It has every inference variable under its
path, such as `params/encoder/conv1/conv/kernel` or `batch_stats/...`, in Flax's layout (a
convolution is `[height, width, in, out]`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError, join_names
from fcnjax.io.atomic_files import atomic
from fcnjax.io.json_files import parse_json, read_json
from fcnjax.io.safetensors_files import read_safetensors, write_safetensors

CONFIG_FILE = "config.json"
LARGEST_CONFIG = 4 * 2**20  # bytes
MODEL_FILE = "model.safetensors"
FORMAT_VERSION = 1


def is_saved_config(content: Any) -> bool:
    """Return whether the content of a JSON file is a config that `save_config` wrote."""
    return isinstance(content, dict) and {"format_version", "fcnjax_version"} <= content.keys()


def is_smp_config(content: Any) -> bool:
    """Return whether the content of a JSON file is the config of a model of smp."""
    return isinstance(content, dict) and isinstance(content.get("_model_class"), str)


def is_external_config(content: Any) -> bool:
    """Return whether the content of a JSON file is the config of a model of transformers or smp."""
    is_transformers = isinstance(content, dict) and isinstance(content.get("model_type"), str)
    return is_transformers or is_smp_config(content)


def is_external_segmenter(content: Any) -> bool:
    """Return whether it is that of a segmentation model, which a training can start from."""
    names = content.get("architectures") if is_external_config(content) else None
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        return False
    return names[0].endswith(("ForSemanticSegmentation", "ForUniversalSegmentation"))


def is_model_folder(folder: str | Path) -> bool:
    """Return whether a folder has an entire model: a workdir, or a published segmentation model."""
    path = Path(folder) / CONFIG_FILE
    try:
        content = read_config_file(folder) if path.is_file() else None
    except UserError:
        return False
    return is_saved_config(content) or is_external_segmenter(content)


def read_config_file(folder: str | Path) -> Any:
    """Read the `config.json` of a folder.

    Raises:
        UserError: It is missing, damaged or too large.
    """
    return read_json(Path(folder) / CONFIG_FILE, LARGEST_CONFIG)


def save_variables(path: str | Path, variables: Mapping[str, Any], step: int) -> None:
    """Write a model's variables and their step, atomically."""
    flat = flatten_dict(jax.device_get(dict(variables)), sep="/")
    tensors = {name: np.ascontiguousarray(value) for name, value in flat.items()}
    # One entry: the order of several is random, and the same model should give the same file.
    metadata = json.dumps({"format_version": FORMAT_VERSION, "step": step})
    with atomic(path) as temporary:
        write_safetensors(temporary, tensors, {"fcnjax": metadata})


def read_variables(path: Path, like: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Read where `save_variables` wrote.

    Args:
        path: The file.
        like: The model's variables; shapes and types are enough.

    Returns:
        The variables, NumPy arrays, and their step.

    Raises:
        UserError: The file cannot be read, has another format, or does not have exactly the arrays
            of the model; names one.
    """
    try:
        tensors, metadata = read_safetensors(path)
    except ValueError as error:
        raise UserError(f"{path}: cannot be read: it is damaged or cut off ({error})") from error
    content = parse_json(metadata.get("fcnjax", "null"), path)
    step = content.get("step") if isinstance(content, dict) else None
    if type(step) is not int or content.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path}: is not a model that `fcnjax publish` wrote")
    _check(path, tensors, flatten_dict(dict(like), sep="/"))
    # The flat file has no trace of a collection without arrays.
    variables = {collection: {} for collection in like} | unflatten_dict(tensors, sep="/")
    return variables, step


def _check(path: Path, tensors: Mapping[str, np.ndarray], like: Mapping[str, Any]) -> None:
    for where, names in (
        ("missing from", like.keys() - tensors.keys()),
        ("not in the model but in", tensors.keys() - like.keys()),
    ):
        if names:
            raise UserError(
                f"{path}: does not fit the model that its config.json describes: {len(names)} "
                f"arrays {where} the file: {join_names(sorted(names))}"
            )
    for name, array in tensors.items():
        expected = like[name]
        if (array.shape, array.dtype) != (tuple(expected.shape), expected.dtype):
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, and the model that its "
                f"config.json describes takes {expected.dtype} {tuple(expected.shape)}"
            )
