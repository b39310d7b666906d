"""Reading weight files into `{name: array}`: torch's formats and safetensors, without torch.

A file of torch is unpickled once, and then kept as safetensors in the folder of downloads. The copy
is named by the SHA-256 of the file: a changed file is read again, and one file under two names has
one copy. It contains the hash of its tensors: a damaged copy is made again. The folder may be
deleted at any time.
"""

import functools
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from fcnjax.errors import UserError, printable
from fcnjax.io.atomic_files import atomic, sha256
from fcnjax.io.safetensors_files import (
    MAX_TENSORS,
    check_names,
    read_safetensors,
    write_safetensors,
)
from fcnjax.models.pretrained.sources.weights import Weights, weights_folder
from fcnjax.models.pretrained.torch_files.pickles import (
    StoredTensor,
    is_torch_file,
    open_torch_file,
)
from fcnjax.models.pretrained.torch_files.unpickler import named_values
from fcnjax.runtime.packages import to_stderr

FORMAT_VERSION = "2"  # of a copy
# The keys under which trainers store weights, in the order of the search.
_WRAPPERS = (
    "model_ema",
    "state_dict_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "network_weights",
)
# Several tensors may share a storage, and a stride of 0 repeats numbers. The tensors of a file may
# together be this many times larger than it, plus this many bytes.
_MAX_FACTOR, _MAX_EXTRA_BYTES = 4, 2**24


def read_tensors(weights: Weights, log: Callable[[str], None] = to_stderr) -> dict[str, np.ndarray]:
    """Read the tensors of a weight file, as `read_weights` does, from its copy if it has one.

    A torch file without a copy gets one, unless it is damaged or hostile. Where no copy can be
    written, a line is logged and the tensors are returned.

    Args:
        weights: From `fetch_weights`; not a model of fcnjax.
        log: Receives a line where no copy can be written.

    Returns:
        The arrays by their names.

    Raises:
        UserError: The file is missing, damaged, of another format, or hostile.
    """
    path = weights.path
    try:
        digest = sha256(path) if path.is_file() and is_torch_file(path) else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if digest is None:
        return read_weights(path)
    copy = weights_folder() / f"{digest}.safetensors"
    tensors = _read_copy(copy)
    if tensors is not None:
        return tensors
    tensors = read_weights(path)
    try:
        with atomic(copy) as temporary:
            source = printable(weights.source)
            metadata = {"source": source, "sha256": _digest(source, tensors)}
            metadata["format_version"] = FORMAT_VERSION
            write_safetensors(temporary, tensors, metadata)
    except UserError as error:
        log(f"{error}; {path} will be unpickled again next time")
    return tensors


def _read_copy(path: Path) -> dict[str, np.ndarray] | None:
    """Return the tensors of a copy; None where it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_safetensors(path)
    except ValueError:
        return None
    if metadata.get("format_version") != FORMAT_VERSION or "source" not in metadata:
        return None
    return tensors if metadata.get("sha256") == _digest(metadata["source"], tensors) else None


def _digest(source: str, tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the source, and of all tensors, their names, types and shapes."""
    digest = hashlib.sha256(source.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}\0{array.dtype.str}\0{tensors[name].shape}\0".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file.

    The format is recognised by content. Weights under `state_dict`, `model` and the like are found;
    in other dictionaries the key and a dot precede their names. bfloat16 becomes float32; other
    types are kept.

    Args:
        path: The file.

    Returns:
        The arrays by their names.

    Raises:
        UserError: The file is missing, damaged, of another format, without tensors, or hostile (it
            asks to call a function). Nothing in it is ever executed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weight file")
    try:
        tensors = _read_torch(path) if is_torch_file(path) else read_safetensors(path)[0]
        check_names(tensors)
        # In place, so that only one tensor at a time is in memory twice.
        for name, array in tensors.items():
            if array.dtype == ml_dtypes.bfloat16:
                tensors[name] = array.astype(np.float32)
    except UserError:
        raise
    # zipfile, pickletools, safetensors and NumPy raise many types for a damaged file.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{path}: cannot be read as weights: it is damaged or of another format "
            f"({reason}); valid: torch's .pth, .pt and .ckpt, and .safetensors"
        ) from error
    if not tensors:
        raise UserError(f"{path}: has no tensors")
    return tensors


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    with open_torch_file(path) as (content, read_storage):
        stored = _unwrap(content)
        max_bytes = _MAX_FACTOR * path.stat().st_size + _MAX_EXTRA_BYTES
        if sum(tensor.nbytes for tensor in stored.values()) > max_bytes:
            raise ValueError("its tensors are far larger than the file")
        by_storage = defaultdict(list)
        for name, tensor in stored.items():
            by_storage[tensor.storage.key].append(name)
        arrays = {}
        for names in by_storage.values():  # only one storage is in memory at a time
            numbers = read_storage(stored[names[0]].storage)
            arrays |= {name: stored[name].array(numbers) for name in names}
    return {name: arrays[name] for name in stored}


def _unwrap(content: Any) -> dict[str, StoredTensor]:
    """Return the tensors by name, from within the dictionaries of a trainer."""
    if not isinstance(content, dict):
        raise ValueError("it is not a dictionary")
    named_tensors = functools.partial(
        named_values, kind=StoredTensor, separator=".", counter=itertools.count()
    )
    tensors = {}
    for _ in _WRAPPERS:
        wrapped = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
        inner = next((value for value in wrapped if any(named_tensors(value))), None)
        if inner is None:
            break
        content = inner
    for name, tensor in named_tensors(content):
        tensors[name] = tensor
        if len(tensors) > MAX_TENSORS:
            raise ValueError(f"more than {MAX_TENSORS} tensors")
    return tensors
