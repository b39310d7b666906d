"""Parity of our models with reference outputs of torch models, and the files of those."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.io.json_files import field, read_json
from fcnjax.models.pretrained.names import from_torch_order, tensor_names, torch_shape
from fcnjax.models.pretrained.references import Reference, reference

TOLERANCE = 1e-4  # of the standard deviation of the reference
_MAX_BYTES = 2**24
_MAX_INPUT = 2**20  # numbers; an input of 3 channels and 512 x 512 has 786,432
_MAX_OUTPUT = 2**23  # numbers
_MAX_OPTION = 4096  # also the longest side of an input


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


def draw_tensor(name: str, shape: Sequence[int]) -> np.ndarray:
    """Draw a tensor of torch, float32, seeded by its name with the salt before it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def _draw(path: tuple[str, ...], shape: tuple[int, ...], name: str) -> np.ndarray:
    shape = torch_shape(path, shape)
    if name.endswith("layer_scale"):
        shape = (*shape, 1, 1)
    value = draw_tensor(name, shape)
    if name.endswith("layer_scale"):
        return value[:, 0, 0]
    return from_torch_order(path, value)


def read_entries(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of reference outputs.

    Raises:
        UserError: It is missing or invalid; says what is wrong.
    """
    entries = read_json(path, _MAX_BYTES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: is not a list of entries; see fcnjax models parity --help")
    for i, entry in enumerate(entries):
        _check_entry(entry, f"{path}: entry {i}")
    return entries


def _check_entry(entry: dict[str, Any], where: str) -> None:
    required = ("name", "input", "input_seed", "outputs")
    if missing := [key for key in required if key not in entry]:
        raise UserError(f"{where} has no {', '.join(missing)}")
    field(entry, "name", str, where)
    field({"salt": "", **entry}, "salt", str, where)
    field({"params": 0, **entry}, "params", int, where)
    _check_shape(entry, "input", (4,), _MAX_INPUT, where)
    if field(entry, "input_seed", int, where) < 0:
        raise UserError(f"{where}: 'input_seed' is negative; valid: an integer from 0")
    _check_options(field({"options": {}, **entry}, "options", dict, where), where)
    outputs = field(entry, "outputs", list, where)
    if not outputs:
        raise UserError(f"{where}: 'outputs' is empty; valid: a list of outputs")
    for output in outputs:
        _check_output(output, where)


def _check_shape(entry: Any, key: str, axes: tuple[int, ...], most: int, where: str) -> int:
    """Check `entry[key]`, a shape with one of some numbers of axes; return its size."""
    shape = field(entry, key, list, where)
    valid = all(type(side) is int and 0 < side <= _MAX_OPTION for side in shape)
    if len(shape) not in axes or not valid or math.prod(shape) > most:
        raise UserError(
            f"{where}: {key!r} is {str(shape)[:40]}; valid: {' or '.join(map(str, axes))} sides of "
            f"1 to {_MAX_OPTION}, of at most {most} numbers in all"
        )
    return math.prod(shape)


def _check_output(output: Any, where: str) -> None:
    count = _check_shape(output, "shape", (2, 4), _MAX_OUTPUT, where)
    if field(output, "std", (int, float), where) <= 0:
        raise UserError(f"{where}: 'std' is {output['std']}; valid: a number above 0")
    indices = field(output, "flat_index", list, where)
    values = field(output, "value", list, where)
    if not all(type(index) is int and 0 <= index < count for index in indices):
        raise UserError(f"{where}: 'flat_index' has an index outside the output")
    if not all(type(value) in (int, float) for value in values) or len(values) != len(indices):
        raise UserError(f"{where}: 'value' is not a number for each index of 'flat_index'")
    if not indices:
        raise UserError(f"{where}: 'flat_index' is empty; valid: one index or more")


def _check_options(options: dict[str, Any], where: str) -> None:
    """Check that options are keys of `config.model`, of their types and not too large."""
    model = default_config().model
    for key, value in options.items():
        try:
            model[key] = tuple(value) if isinstance(value, list) else value
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{where}: option {key!r} is {str(value)[:40]!r}; valid: the keys of config.model "
                "and values of their types"
            ) from error
        numbers = value if isinstance(value, list) else [value]
        valid = all(type(n) in (int, bool) and n <= _MAX_OPTION for n in numbers)
        if not isinstance(value, str) and not valid:
            raise UserError(
                f"{where}: option {key!r} is {str(value)[:40]}; valid: names and integers up "
                f"to {_MAX_OPTION}"
            )
