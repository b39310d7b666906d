"""Reads a pickle of NumPy arrays in dictionaries, without running it.

A pickle names functions to call. Here three names resolve, each to a stand-in of ours that does no
more than keep its arguments; any other name ends the reading.
"""

import io
import math
import pickle
from typing import Any

import numpy as np

from fcnjax.errors import UserError

_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _Type:
    """Stands for `numpy.dtype`."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        if self.code not in _CODES or self.order not in ("<", ">", "=", "|"):
            raise ValueError(f"an array of type {self.order}{self.code}")
        return np.dtype(f"{self.order}{self.code}")


class _Array:
    """Stands for what `numpy.core.multiarray._reconstruct` makes: an array yet to be filled."""

    __slots__ = ("state",)

    def __init__(self, *_: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise ValueError("an array without numbers")
        shape, dtype = tuple(map(int, shape)), kind.numpy()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array of another size than it says")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


_ALLOWED = {
    ("numpy", "dtype"): _Type,
    # An argument of `_reconstruct`; by name, since a class could be changed by what follows.
    ("numpy", "ndarray"): "ndarray",
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, source: str):
        super().__init__(io.BytesIO(content))
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UserError(
                f"{self._source}: is refused: it asks to call {module}.{name}, which arrays do not "
                "need; nothing of it was run"
            )
        return _ALLOWED[module, name]


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
        found = _Unpickler(content, source).load()
        if not isinstance(found, dict):
            raise ValueError("it holds no dictionary")
        return dict(_walk(found, ""))
    except UserError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{source}: cannot be read as a pickle of arrays: {reason}") from error


def _walk(node: dict, prefix: str) -> Any:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _walk(value, f"{prefix}{key}/")
        elif isinstance(value, _Array):
            yield f"{prefix}{key}", value.numpy()
