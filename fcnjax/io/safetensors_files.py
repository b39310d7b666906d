"""Read and write safetensors files: tensors by their names, and text beside them.

The format bounds its reader already: the tensors fill the file, each byte once. Its header is
bounded here, and whatever the library raises becomes one exception.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401 - gives NumPy bfloat16, which files of weights may have
import numpy as np
import safetensors
from safetensors.numpy import save_file

MAX_HEADER = 2**24  # bytes; 10,000 tensors take one million
MAX_TENSORS = 2**16
MAX_NAME = 500  # characters of a tensor's name
_RESERVED = "__metadata__"  # the entry of the header that is no tensor


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the tensors of a file, and its metadata.

    Raises:
        ValueError: It is missing, damaged or of another kind, or has a header of more than
            `MAX_HEADER` bytes, more than `MAX_TENSORS` tensors, an invalid name, or types that
            NumPy does not have; in one line.
    """
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER, os.fstat(file.fileno()).st_size):
                raise ValueError(f"a header of {length} bytes")
        with safetensors.safe_open(path, framework="np") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise ValueError(f"more than {MAX_TENSORS} tensors")
            check_names(names)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except AttributeError as error:
        raise ValueError("tensors of a type that NumPy does not have, such as float8") from error
    # NumPy raises exceptions of its own for shapes, and the library for all else.
    except Exception as error:
        raise ValueError((str(error) or type(error).__name__).splitlines()[0][:200]) from error


def write_safetensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes tensors, contiguous ones, to a file.

    Raises:
        OSError: It cannot be written, as where the disk is full.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata and dict(metadata))
    except safetensors.SafetensorError as error:
        raise OSError(str(error).splitlines()[0]) from error


def check_names(names: Iterable[str]) -> None:
    """Checks the names of tensors, which messages show and other files take.

    Raises:
        ValueError: One is too long, reserved, or has characters that cannot be printed.
    """
    for name in names:
        if len(name) > MAX_NAME or name == _RESERVED or not name.isprintable():
            raise ValueError(f"a tensor of the invalid name {name[:60]!a}")
