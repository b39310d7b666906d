"""`fcnjax models parity`: our models against what the torch models printed."""

import argparse
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
from fcnjax.models.pretrained.reference_outputs import read_entries
from fcnjax.models.pretrained.references import Reference, reference

TOLERANCE = 1e-4
_EXAMPLES = """\
FILE is a JSON list. An entry has `name` (torchvision/MODEL, timm/MODEL or
smp/ARCHITECTURE/ENCODER), `input` (its shape, NCHW), `input_seed`, `salt` (of the weights'
seeds), `params` and `outputs`, each with `shape`, `std`, `flat_index` and `value`; and where
the model is not the library's default, `options`, keys of config.model. NumPy draws the
weights from the names of their tensors. benchmarks/reference_outputs.py prints such files.

examples:
  fcnjax models parity tests/models/goldens/torch.json
  fcnjax models parity outputs.json --only=smp/
"""


@dataclass(frozen=True)
class Result:
    """What became of an entry.

    Attributes:
        error: Largest difference over the reference's standard deviation, of all its outputs.
        params: Our count of parameters, those that the reference has and does not use included.
        wrong: What is wrong, or "".
    """

    error: float
    params: int
    wrong: str


def main(argv: list[str]) -> int:
    """`fcnjax models parity`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax models parity",
        description="Compares our models with reference outputs of torch models; exits with 1 "
        f"where one differs by more than {TOLERANCE:g} of the standard deviation, or is unknown.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="reference outputs, as JSON")
    parser.add_argument("--only", metavar="TEXT", default="", help="entries whose name has TEXT")
    args = parser.parse_args(argv)
    entries = [entry for entry in read_entries(args.file) if args.only in entry["name"]]
    if not entries:
        raise UserError(f"{args.file}: no entry has {args.only!r} in its name")
    failed = 0
    for entry in entries:
        height, width = entry["input"][-2:]
        label = f"{entry['name']:<44} {height}x{width:<5}"
        try:
            result = compare(entry)
        except UserError as problem:
            failed += 1
            print(f"{label} UNKNOWN  {problem}", flush=True)
            continue
        failed += bool(result.wrong)
        numbers = f"{result.error:8.1e} of std  {result.params:>11,} parameters"
        print(f"{label} {numbers}  {result.wrong or 'equal'}", flush=True)
        jax.clear_caches()
    print(f"{len(entries) - failed} of {len(entries)} equal to within {TOLERANCE:g}")
    return 1 if failed else 0


def compare(entry: Mapping[str, Any]) -> Result:
    """Runs the model of an entry on the entry's input and weights.

    Raises:
        UserError: A name that no model here stands for.
    """
    shapes = [output["shape"] for output in entry["outputs"]]
    model = reference(entry["name"], entry["input"][1], shapes, entry.get("options", {}))
    image = np.random.default_rng(entry["input_seed"]).standard_normal(entry["input"])
    image = jnp.asarray(image.astype(np.float32).transpose(0, 2, 3, 1))
    wanted = jax.eval_shape(lambda: model.init(image))
    params = sum(leaf.size for leaf in jax.tree.leaves(wanted["params"])) + model.unused
    variables = redrawn(model, wanted, entry.get("salt", ""))
    with jax.default_matmul_precision("highest"):
        results = jax.jit(model.run)(variables, image)
    ours = [list(result.shape) for result in results]
    if ours != shapes:
        return Result(np.inf, params, f"shapes {ours}, and the reference's are {shapes}")
    error = max(
        np.abs(np.ravel(result)[output["flat_index"]] - output["value"]).max() / output["std"]
        for result, output in zip(results, entry["outputs"], strict=True)
    )
    wrong = "" if error <= TOLERANCE else "DIFFERS"
    if entry.get("params", params) != params:
        wrong = f"{wrong} the reference has {entry['params']:,} parameters".strip()
    return Result(float(error), params, wrong)


def redrawn(model: Reference, wanted: Mapping[str, Any], salt: str = "") -> dict[str, Any]:
    """The variables that the rule of the references draws, from the torch names of their tensors.

    Args:
        model: The reference.
        wanted: Its variables, or their shapes.
        salt: Put before each name.

    Raises:
        UserError: A variable without a torch name.
    """
    flat = flatten_dict(dict(wanted))
    names = {}
    for layout in model.layouts:
        names |= tensor_names(wanted, layout)
    if bare := ["/".join(path) for path in flat if path not in names]:
        raise UserError(f"{len(bare)} variables have no name in the reference: {bare[0]}, ...")
    drawn = {path: _drawn(path, leaf.shape, salt + names[path]) for path, leaf in flat.items()}
    return unflatten_dict(drawn)


def _drawn(path: Path, shape: tuple[int, ...], name: str) -> np.ndarray:
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
