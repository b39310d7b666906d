"""Reads weight files into `{name: array}`: torch's formats and safetensors, without torch."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from fcnjax.errors import UserError
from fcnjax.io.safetensors_files import MAX_TENSORS, check_names, read_safetensors
from fcnjax.models.pretrained.torch_files.nested import named_values
from fcnjax.models.pretrained.torch_files.pickles import is_torch_file, open_torch_file
from fcnjax.models.pretrained.torch_files.stored_tensors import StoredTensor

# Where trainers keep the weights, in the order they are looked for.
_WRAPPERS = (
    "model_ema",
    "state_dict_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "network_weights",
)
# Tied weights are one storage and several tensors, and a stride of 0 repeats numbers. All tensors
# of a file together may be so many times larger than it, and so many bytes.
_TIMES_LARGER, _BYTES_LARGER = 4, 2**24


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
        tensors = _read_torch(path) if is_torch_file(path) else read_safetensors(path)[0]
        check_names(tensors)
        # In place: one tensor at a time is in memory twice.
        for name, array in tensors.items():
            if array.dtype == ml_dtypes.bfloat16:
                tensors[name] = array.astype(np.float32)
    except UserError:
        raise
    # Whatever zipfile, pickletools, safetensors and NumPy raise for a damaged file.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{path}: cannot be read as weights: it is damaged, cut off or of another kind "
            f"({reason}); valid: torch's .pth, .pt and .ckpt, and .safetensors"
        ) from error
    if not tensors:
        raise UserError(f"{path}: holds no tensors")
    return tensors


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    with open_torch_file(path) as (content, read_storage):
        stored = _unwrapped(content)
        most = _TIMES_LARGER * path.stat().st_size + _BYTES_LARGER
        if sum(tensor.nbytes for tensor in stored.values()) > most:
            raise ValueError("its tensors are far larger than the file")
        by_storage = defaultdict(list)
        for name, tensor in stored.items():
            by_storage[tensor.storage.key].append(name)
        arrays = {}
        for names in by_storage.values():  # one storage in memory at a time
            numbers = read_storage(stored[names[0]].storage)
            arrays |= {name: stored[name].array(numbers) for name in names}
    return {name: arrays[name] for name in stored}


def _unwrapped(content: Any) -> dict[str, StoredTensor]:
    """The tensors by name, out of the dictionaries that a trainer put around them."""
    if not isinstance(content, dict):
        raise ValueError("it holds no dictionary")
    seen = itertools.count()
    tensors = {}
    for _ in _WRAPPERS:
        wrapped = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
        inner = next((value for value in wrapped if any(_tensors(value, seen))), None)
        if inner is None:
            break
        content = inner
    for name, tensor in _tensors(content, seen):
        tensors[name] = tensor
        if len(tensors) > MAX_TENSORS:
            raise ValueError(f"more than {MAX_TENSORS} tensors")
    return tensors


def _tensors(content: Mapping[str, Any], seen: Iterator[int]) -> Iterator[tuple[str, StoredTensor]]:
    return named_values(content, StoredTensor, ".", seen)
