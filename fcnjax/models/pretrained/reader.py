"""Reads weight files into `{name: array}`: torch's formats and safetensors, without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from fcnjax.errors import UserError
from fcnjax.models.pretrained.pickles import StoredTensor, is_torch_file, read_torch_file

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


def _unwrapped(content: Any) -> dict[str, np.ndarray | StoredTensor]:
    """The tensors by name, out of whatever a trainer put around them."""
    if not isinstance(content, Mapping):
        raise ValueError("it holds no dictionary")
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping) and _tensors(content[key]):
            return _unwrapped(content[key])
    return _tensors(content)


def _tensors(content: Mapping) -> dict[str, np.ndarray | StoredTensor]:
    """The tensors of a dictionary and those within it, their names joined by dots."""
    tensors = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, np.ndarray | StoredTensor):
            tensors[name] = value
        elif isinstance(name, str) and isinstance(value, Mapping):
            tensors |= {f"{name}.{inner}": tensor for inner, tensor in _tensors(value).items()}
    return tensors


def _plain(tensor: np.ndarray | StoredTensor) -> np.ndarray:
    array = tensor.array() if isinstance(tensor, StoredTensor) else tensor
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
