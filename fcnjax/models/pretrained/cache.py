"""A cache of torch's weight files as safetensors, so that each is unpickled once.

The copy is named by the SHA-256 of the file: a changed file is read again, and one file under two
names has one copy. It contains the hash of its tensors: a damaged copy is made again. The folder
may be deleted at any time.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fcnjax.errors import UserError, printable
from fcnjax.io.atomic_files import atomic, sha256
from fcnjax.io.safetensors_files import read_safetensors, write_safetensors
from fcnjax.models.pretrained.reader import read_weights
from fcnjax.models.pretrained.sources.weights import Weights, weights_folder
from fcnjax.models.pretrained.torch_files.pickles import is_torch_file
from fcnjax.runtime.packages import to_stderr

FORMAT_VERSION = "2"


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
