"""Read and write safetensors files: named tensors and text metadata.

The format itself limits the tensors: they fill the file, each byte once. The header is limited
here, and the exceptions of the library become one.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401 - gives NumPy bfloat16, which files of weights may have
import numpy as np
import safetensors
from safetensors.numpy import save_file

MAX_HEADER = 2**24  # bytes; 10,000 tensors need one million
MAX_TENSORS = 2**16
MAX_NAME = 500  # characters of a tensor's name
_RESERVED = "__metadata__"  # the entry of the header that is not a tensor


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the tensors and the metadata of a file.

    Raises:
        ValueError: The file is missing or damaged, or has a header of more than `MAX_HEADER` bytes,
            more than `MAX_TENSORS` tensors, an invalid name, or types that NumPy does not have. The
            message is one line.
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
    # NumPy raises for invalid shapes, the library for everything else.
    except Exception as error:
        raise ValueError((str(error) or type(error).__name__).splitlines()[0][:200]) from error


def write_safetensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write contiguous tensors to a file.

    Raises:
        OSError: It cannot be written.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata and dict(metadata))
    except safetensors.SafetensorError as error:
        raise OSError(str(error).splitlines()[0]) from error


def check_names(names: Iterable[str]) -> None:
    """Check the names of tensors, which messages and other files will contain.

    Raises:
        ValueError: One is too long, reserved, or not printable.
    """
    for name in names:
        if len(name) > MAX_NAME or name == _RESERVED or not name.isprintable():
            raise ValueError(f"a tensor has the invalid name {name[:60]!a}")
