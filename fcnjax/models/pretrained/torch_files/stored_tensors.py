"""Tensors of torch's files: views of storages, which hold the numbers."""

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

# Of a side of a tensor and of the numbers of a storage; more than any file holds.
_MAX_COUNT = 2**48
_MAX_AXES = 64  # of a NumPy array
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
        numel: How many there are.
    """

    key: str
    dtype: np.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Its bytes in the file."""
        return self.numel * self.dtype.itemsize


def storage_of(identifier: Any) -> Storage:
    """Returns the storage that torch's persistent identifier describes.

    Raises:
        ValueError: It is not such an identifier.
    """
    if type(identifier) is not tuple or len(identifier) not in (5, 6):
        raise ValueError("a storage that is not described as one")
    kind, name, key, _, numel = identifier[:5]
    if kind != "storage" or type(name) is not str or name not in DTYPES or any(identifier[5:]):
        raise ValueError("a storage of an unknown kind")
    if type(key) is not str or not is_count(numel):
        raise ValueError("a storage without a name or a size")
    return Storage(key, np.dtype(DTYPES[name]), numel)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage.

    Attributes:
        storage: Holds its numbers.
        offset: Of its first number in the storage.
        shape: Its sides.
        strides: Numbers from one element to the next, along each axis.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its elements, those that a stride of 0 repeats included."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def array(self, content: bytes) -> np.ndarray:
        """Copies the elements out of the content of the storage."""
        whole = np.frombuffer(content, self.storage.dtype, self.storage.numel)
        if 0 in self.shape:
            return np.zeros(self.shape, whole.dtype)
        strides = [step * whole.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(whole[self.offset :], self.shape, strides)
        return view.copy()


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    """Stands for `torch._utils._rebuild_tensor_v2`.

    Raises:
        ValueError: The view does not lie within its storage.
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
    """Return whether a value is a whole number that a size may be."""
    return type(value) is int and 0 <= value <= _MAX_COUNT
