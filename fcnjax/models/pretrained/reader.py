"""Reads weight files into `{name: array}`: torch's formats and safetensors, without torch."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from fcnjax.errors import UserError
from fcnjax.models.pretrained.pickles import is_torch_file, open_torch_file
from fcnjax.models.pretrained.stored_tensors import StoredTensor

# Where trainers keep the weights, in the order they are looked for.
_WRAPPERS = (
    "model_ema",
    "state_dict_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "network_weights",
)
_SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file, by its content.

    Weights kept under `state_dict`, `model` and the like are found there; in other dictionaries
    they are named with the key before a dot. bfloat16 becomes float32; other types stay.

    Args:
        path: The file.

    Returns:
        The arrays by their names.

    Raises:
        UserError: The file is missing, cut off, of another kind, holds no tensors, or is hostile
            (it asks for a function to be called); names it. Nothing in it is ever executed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        content = read_torch_file(path) if is_torch_file(path) else _read_safetensors(path)
        tensors = {name: _plain(tensor) for name, tensor in _unwrapped(content).items()}
    except UserError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path}: cannot be read as weights: it is damaged, cut off or of another kind "
            f"({reason}); valid: torch's .pth, .pt and .ckpt, and .safetensors"
        ) from error
    if not tensors:
        raise UserError(f"{path}: holds no tensors")
    return tensors


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    tensors = {}
    for name, item in safetensors.deserialize(path.read_bytes()):
        if item["dtype"] not in _SAFETENSORS_DTYPES:
            raise ValueError(f"{name} is of type {item['dtype']}")
        dtype = np.dtype(_SAFETENSORS_DTYPES[item["dtype"]])
        tensors[name] = np.frombuffer(item["data"], dtype).reshape(item["shape"])
    return tensors


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    with open_torch_file(path) as (content, read_storage):
        stored = _unwrapped(content)
        if sum(tensor.nbytes for tensor in stored.values()) > _REPEATED + 4 * path.stat().st_size:
            raise ValueError("its tensors are far larger than the file")
        by_storage = defaultdict(list)
        for name, tensor in stored.items():
            by_storage[tensor.storage.key].append(name)
        # In the order of their names, and one storage in memory at a time.
        arrays: dict[str, Any] = dict.fromkeys(stored)
        for names in by_storage.values():
            numbers = read_storage(stored[names[0]].storage)
            arrays.update((name, _plain(stored[name].array(numbers))) for name in names)
    return arrays


def _unwrapped(content: Any) -> dict[str, StoredTensor]:
    """The tensors by name, out of the dictionaries that a trainer put around them."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, dict):
            raise ValueError("it holds no dictionary")
        inner = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
        found = next((value for value in inner if any(_walk(value))), None)
        if found is None:
            break
        content = found
    tensors = {}
    for name, tensor in _walk(content):
        tensors[".".join(name)] = tensor
        if len(tensors) > _MAX_TENSORS:
            raise ValueError(f"more than {_MAX_TENSORS} tensors")
    return tensors


def _walk(content: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], StoredTensor]]:
    """Yields the tensors of a dictionary and of those in it, and the keys that lead to each."""
    # Dictionaries may be shared, or hold themselves: the values that are looked at are counted.
    seen, path, open_ = 0, [], [iter(content.items())]
    while open_:
        for name, value in open_[-1]:
            seen += 1
            if seen > _MAX_VALUES or len(open_) > _MAX_DEPTH:
                raise ValueError("dictionaries that are nested too deep or hold too much")
            if isinstance(value, StoredTensor):
                yield (*path, name), value
            elif isinstance(value, dict):
                path.append(name)
                open_.append(iter(value.items()))
                break
        else:
            open_.pop()
            del path[-1:]
