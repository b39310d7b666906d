"""Parity of our models with reference outputs of torch models."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.errors import UserError
from fcnjax.models.pretrained.layouts import Path
from fcnjax.models.pretrained.names import tensor_names, torch_shape
from fcnjax.models.pretrained.references import Reference, reference

TOLERANCE = 1e-4  # of the standard deviation of the reference


@dataclass(frozen=True)
class Result:
    """The result of comparing an entry.

    Attributes:
        error: Largest difference of all outputs, over the standard deviation of the reference.
        params: Our number of parameters, including those that the reference has but does not use.
        problem: A description of the mismatch, or "".
    """

    error: float
    params: int
    problem: str


def compare(entry: Mapping[str, Any]) -> Result:
    """Run the model of an entry on the entry's input and weights.

    Raises:
        UserError: The name of the entry is not that of a model here.
    """
    shapes = [output["shape"] for output in entry["outputs"]]
    model = reference(entry["name"], entry["input"][1], shapes, entry.get("options", {}))
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1))
    shapes_of_variables = jax.eval_shape(lambda: model.init(image))
    params = (
        sum(leaf.size for leaf in jax.tree.leaves(shapes_of_variables["params"])) + model.unused
    )
    variables = draw_variables(model, shapes_of_variables, entry.get("salt", ""))
    with jax.default_matmul_precision("highest"):
        results = jax.jit(model.run)(variables, image)
    own_shapes = [list(result.shape) for result in results]
    if own_shapes != shapes:
        problem = f"shapes {own_shapes}, but the reference's are {shapes}"
        return Result(np.inf, params, problem)
    error = max(
        np.abs(np.ravel(result)[output["flat_index"]] - output["value"]).max() / output["std"]
        for result, output in zip(results, entry["outputs"], strict=True)
    )
    problem = "" if error <= TOLERANCE else "DIFFERS"
    if entry.get("params", params) != params:
        problem = f"{problem} the reference has {entry['params']:,} parameters".strip()
    return Result(float(error), params, problem)


def draw_variables(
    model: Reference, variables: Mapping[str, Any], salt: str = ""
) -> dict[str, Any]:
    """Draw variables as the references do, seeded by the torch names of their tensors.

    Args:
        model: The reference.
        variables: Its variables, or their shapes.
        salt: Prefix of each name.

    Raises:
        UserError: A variable has no torch name.
    """
    flat = flatten_dict(dict(variables))
    names = {p: n for layout in model.layouts for p, n in tensor_names(variables, layout).items()}
    if unnamed := ["/".join(path) for path in flat if path not in names]:
        raise UserError(
            f"{len(unnamed)} variables have no name in the reference: {unnamed[0]}, ..."
        )
    drawn = {path: _draw(path, leaf.shape, salt + names[path]) for path, leaf in flat.items()}
    return unflatten_dict(drawn)


def _draw(path: Path, shape: tuple[int, ...], name: str) -> np.ndarray:
    shape = torch_shape(path, shape)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("layer_scale"):
        shape = (*shape, 1, 1)
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    value = value.astype(np.float32)
    if name.endswith("layer_scale"):
        return value[:, 0, 0]
    if value.ndim == 4:
        order = (2, 3, 0, 1) if path[-1] == "transposed_kernel" else (2, 3, 1, 0)
        value = value.transpose(order)
    return value
