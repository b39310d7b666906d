"""Reading a pickle of NumPy arrays in dictionaries, without executing it.

A pickle names functions to call. Here three names resolve, each to a class that only stores its
arguments; any other name is an error.
"""

import io
import itertools
import math
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.models.pretrained.torch_files.pickles import is_count
from fcnjax.models.pretrained.torch_files.unpickler import Unpickler, named_values

_MAX_BYTES = 2**27
_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _Type:
    """Replacement of `numpy.dtype`."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def set_state(self, state: Any) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        if type(self.code) is not str or self.code not in _CODES:
            raise ValueError("an array of a type that is not a number")
        if type(self.order) is not str or self.order not in ("<", ">", "=", "|"):
            raise ValueError("an array of an invalid byte order")
        return np.dtype(f"{self.order}{self.code}")


class _Array:
    """Replacement of the result of `numpy.core.multiarray._reconstruct`, an empty array."""

    __slots__ = ("state",)

    def __init__(self, *_: Any):
        self.state: Any = None

    def set_state(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        """Return the array, which shares memory with the pickle."""
        if type(self.state) is not tuple or len(self.state) != 5:
            raise ValueError("an array without numbers")
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _Type) or type(content) is not bytes:
            raise ValueError("an array without numbers")
        if type(shape) is not tuple or not all(map(is_count, shape)):
            raise ValueError("an array with an invalid shape")
        dtype = kind.numpy()
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array of another size than declared")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran is True else "C")


_NAMES = {
    ("numpy", "dtype"): _Type,
    # This is an argument of `_reconstruct`.
    ("numpy", "ndarray"): "ndarray",
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


def read_arrays(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Return the arrays in a pickle of nested dictionaries, by name, such as `layer/kernel`.

    Nothing in the pickle is executed.

    Args:
        content: The pickle.
        source: Its source, for messages.

    Raises:
        UserError: It asks to call a function, is damaged, or has other content.
    """
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        result = Unpickler(io.BytesIO(content), _NAMES, source).load()
        if not isinstance(result, dict):
            raise ValueError("it is not a dictionary")
        arrays = named_values(result, _Array, "/", itertools.count())
        return {name: array.numpy() for name, array in arrays}
    except UserError:
        raise
    # pickletools and NumPy raise many types for a damaged pickle.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{source}: cannot be read as a pickle of arrays: {reason}") from error
