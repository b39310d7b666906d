"""From the tensors of a published model to the variables of ours."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError, join_names
from fcnjax.models.pretrained.convert import to_native
from fcnjax.models.pretrained.names import torch_shape
from fcnjax.published.description import Description

# Tensors of torch that are computed from others, or count batches.
_BUFFERS = (".num_batches_tracked", ".relative_position_index", ".position_ids")


def with_current_names(
    tensors: Mapping[str, np.ndarray], older_names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Return tensors by the names of the newest version of their library.

    Args:
        tensors: By their names.
        older_names: From patterns of older names to newer ones, applied in this order. Several
            names with `|` between them stand for tensors that the older one concatenates.
    """
    renamed = {}
    for name, tensor in tensors.items():
        newer = name
        for pattern, replacement in older_names.items():
            newer = re.sub(pattern, replacement, newer)
        names = [name] if "|" in name else newer.split("|")
        # Parts of unequal length have not the shapes of the model, which is an error there.
        parts = np.array_split(np.atleast_1d(tensor), len(names)) if len(names) > 1 else [tensor]
        renamed |= zip(names, parts, strict=True)
    return renamed


def convert_model(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, Any],
    model: nn.Module,
    description: Description,
    where: str,
) -> tuple[dict[str, Any], list[str]]:
    """Fill the variables of a model from the tensors of the same model in another library.

    Unlike `pretrained.convert`, it guesses nothing: every variable needs its tensor.

    Args:
        tensors: By their names.
        shapes: The variables of our model; shapes are enough.
        model: Our model.
        description: Its description.
        where: The file, for errors.

    Returns:
        The variables, float32, and the names of the tensors that are not used.

    Raises:
        UserError: A tensor is missing, or has another shape than the model.
    """
    flat = flatten_dict(dict(shapes), keep_empty_nodes=True)
    values, used, missing = dict(flat), set(), []
    for path, shape in flat.items():
        if not hasattr(shape, "shape"):
            continue  # a collection without variables
        names = description.tensor_names(model, path)
        if absent := [name for name in names if name not in tensors]:
            missing += absent
            continue
        used.update(names)
        values[path] = _value(
            [tensors[name] for name in names], path, shape, f"{where}: {names[0]}"
        )
    if missing:
        raise UserError(f"{where}: {len(missing)} tensors are missing: {join_names(missing)}")
    unused = [
        name
        for name in tensors
        if name not in used and not name.endswith(_BUFFERS)
        if not name.startswith(description.unused)
    ]
    return unflatten_dict(values), unused


def _value(parts: list[np.ndarray], path: tuple[str, ...], variable: Any, where: str) -> np.ndarray:
    shape = tuple(variable.shape)
    try:
        tensor = np.concatenate(parts) if len(parts) > 1 else parts[0]
    except ValueError as error:
        raise UserError(f"{where}: does not fit the tensors that it is joined with") from error
    value = to_native(tensor, variable, path, where)
    if value.shape != shape:
        expected = torch_shape(path, shape)
        raise UserError(
            f"{where}: has the shape {tensor.shape}, and config.json describes {expected}"
        )
    return value
