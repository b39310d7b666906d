"""Reads a pickle of NumPy arrays in dictionaries, without running it.

A pickle names functions to call. Here three names resolve, each to a stand-in of ours that does no
more than keep its arguments; any other name ends the reading.
"""

import io
import itertools
import math
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.models.pretrained.torch_files.nested import named_values
from fcnjax.models.pretrained.torch_files.stored_tensors import is_count
from fcnjax.models.pretrained.torch_files.unpickler import Unpickler

_MAX_BYTES = 2**27
_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _Type:
    """Stands for `numpy.dtype`."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def set_state(self, state: Any) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        if type(self.code) is not str or self.code not in _CODES:
            raise ValueError("an array of a type that is no number")
        if type(self.order) is not str or self.order not in ("<", ">", "=", "|"):
            raise ValueError("an array of an invalid byte order")
        return np.dtype(f"{self.order}{self.code}")


class _Array:
    """Stands for what `numpy.core.multiarray._reconstruct` makes: an array yet to be filled."""

    __slots__ = ("state",)

    def __init__(self, *_: Any):
        self.state: Any = None

    def set_state(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        """Returns the array, which shares the memory of the bytes in the pickle."""
        if type(self.state) is not tuple or len(self.state) != 5:
            raise ValueError("an array without numbers")
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _Type) or type(content) is not bytes:
            raise ValueError("an array without numbers")
        if type(shape) is not tuple or not all(map(is_count, shape)):
            raise ValueError("an array of an invalid shape")
        dtype = kind.numpy()
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array of another size than it says")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran is True else "C")


_NAMES = {
    ("numpy", "dtype"): _Type,
    # An argument of `_reconstruct`.
    ("numpy", "ndarray"): "ndarray",
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


def read_arrays(content: bytes, source: str) -> dict[str, np.ndarray]:
    """The arrays of a pickle of nested dictionaries, by their keys: `layer/kernel`.

    Nothing in the pickle is executed.

    Args:
        content: The pickle.
        source: What to call it in an error.

    Raises:
        UserError: It asks for something to be called, or is damaged or of another kind.
    """
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        found = Unpickler(io.BytesIO(content), _NAMES, source).load()
        if not isinstance(found, dict):
            raise ValueError("it holds no dictionary")
        arrays = named_values(found, _Array, "/", itertools.count())
        return {name: array.numpy() for name, array in arrays}
    except UserError:
        raise
    # Whatever pickletools and NumPy raise for a damaged pickle.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{source}: cannot be read as a pickle of arrays: {reason}") from error
