"""The weights of a published model: `model.safetensors`, which readers of other languages take too.

Every inference variable stands there under its path, as `params/encoder/conv1/conv/kernel` or
`batch_stats/...`, in Flax's layout (a convolution is `[height, width, in, out]`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic
from fcnjax.io.json_files import parse_json
from fcnjax.io.safetensors_files import read_safetensors, write_safetensors

MODEL_FILE = "model.safetensors"
FORMAT_VERSION = 1
_SHOWN = 3  # names in an error


def save_variables(path: str | Path, variables: Mapping[str, Any], step: int) -> None:
    """Writes a model's variables and the step that they are of, whole or not at all."""
    flat = flatten_dict(jax.device_get(dict(variables)), sep="/")
    tensors = {name: np.ascontiguousarray(value) for name, value in flat.items()}
    # One entry: safetensors writes several in no order, and one model should make one file.
    told = json.dumps({"format_version": FORMAT_VERSION, "step": step})
    with atomic(path) as temporary:
        write_safetensors(temporary, tensors, {"fcnjax": told})


def read_variables(path: Path, like: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Reads what `save_variables` wrote.

    Args:
        path: The file.
        like: The model's variables; shapes and types are enough.

    Returns:
        The variables, NumPy arrays, and their step.

    Raises:
        UserError: The file cannot be read, is not of this format, or does not hold the very arrays
            that the model takes; names one.
    """
    try:
        tensors, metadata = read_safetensors(path)
    except ValueError as error:
        raise UserError(f"{path}: cannot be read: it is damaged or cut off ({error})") from error
    told = parse_json(metadata.get("fcnjax", "null"), path)
    step = told.get("step") if isinstance(told, dict) else None
    if type(step) is not int or told.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path}: is not a model that `fcnjax publish` wrote")
    _check(path, tensors, flatten_dict(dict(like), sep="/"))
    # A collection without arrays leaves nothing in a flat file.
    variables = {collection: {} for collection in like} | unflatten_dict(tensors, sep="/")
    return variables, step


def _check(path: Path, tensors: Mapping[str, np.ndarray], like: Mapping[str, Any]) -> None:
    for what, names in (
        ("missing from", like.keys() - tensors.keys()),
        ("more in", tensors.keys() - like.keys()),
    ):
        if names:
            some = ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise UserError(
                f"{path}: does not fit the model that its config.json describes: {len(names)} "
                f"arrays {what} the file: {some}"
            )
    for name, array in tensors.items():
        wanted = like[name]
        if (array.shape, array.dtype) != (tuple(wanted.shape), wanted.dtype):
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, and the model that its "
                f"config.json describes takes {wanted.dtype} {tuple(wanted.shape)}"
            )
