"""Tensors in torch's files: views of storages, which contain the numbers."""

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

_MAX_COUNT = 2**48  # for sides of tensors and numbers in a storage; more than any file has
_MAX_AXES = 64  # the limit of NumPy
DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers in a file.

    Attributes:
        key: Its name in the file.
        dtype: Type of the numbers.
        numel: Number of numbers.
    """

    key: str
    dtype: np.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return self.numel * self.dtype.itemsize

    @classmethod
    def of(cls, identifier: Any) -> "Storage":
        """Return the storage that a persistent identifier of torch describes.

        Raises:
            ValueError: It is not an identifier of a storage.
        """
        if type(identifier) is not tuple or len(identifier) not in (5, 6):
            raise ValueError("an invalid description of a storage")
        kind, name, key, _, numel = identifier[:5]
        if kind != "storage" or type(name) is not str or name not in DTYPES or any(identifier[5:]):
            raise ValueError("a storage of an unknown type")
        if type(key) is not str or not is_count(numel):
            raise ValueError("a storage without a name or a size")
        return cls(key, np.dtype(DTYPES[name]), numel)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage.

    Attributes:
        storage: The storage of its numbers.
        offset: Index of its first number in the storage.
        shape: Its shape.
        strides: Distance of neighbours in the storage, along each axis.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of its elements, with those that a stride of 0 repeats."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def array(self, content: bytes) -> np.ndarray:
        """Copy the elements from the content of the storage."""
        numbers = np.frombuffer(content, self.storage.dtype, self.storage.numel)
        if 0 in self.shape:
            return np.zeros(self.shape, numbers.dtype)
        strides = [step * numbers.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides)
        return view.copy()


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    """Replace `torch._utils._rebuild_tensor_v2`.

    Raises:
        ValueError: The view is not within its storage.
    """
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")
    for axes in (shape, strides):
        if type(axes) is not tuple or len(axes) > _MAX_AXES or not all(map(is_count, axes)):
            raise ValueError("a tensor has an invalid shape or strides")
    if len(shape) != len(strides) or not is_count(offset):
        raise ValueError("a tensor has an invalid offset or number of strides")
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.numel:
        raise ValueError("a tensor reaches beyond its storage")
    return StoredTensor(storage, offset, shape, strides)


def is_count(value: Any) -> bool:
    """Return whether a value is an integer that a size may be."""
    return type(value) is int and 0 <= value <= _MAX_COUNT
