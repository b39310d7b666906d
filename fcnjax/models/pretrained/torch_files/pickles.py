"""Reading torch's two checkpoint formats, without torch and without executing anything in them.

A pickle names functions to call. Here a name resolves only to the harmless functions in `_NAMES`.
Names of known packages in checkpoints become an object without effect; any other name is an error
before anything is built from it.
"""

import contextlib
import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from fcnjax.models.pretrained.torch_files.unpickler import IGNORED, Unpickler

# The format before torch 1.6: a number, a version, sizes of types, the object, the storages.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_PICKLE = 2**26  # bytes of the pickles of a file, which do not contain the tensors' numbers
_MAX_DIRECTORY = 2**22  # bytes of the list of a zip file's members; 50,000 storages take 4 MB
# Modules of settings, loggers and trainers, whose objects are ignored.
_IGNORED = (
    "argparse",
    "pathlib",
    "omegaconf",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "mmengine",
    "mmcv",
    "torch.optim",
    "torchmetrics",
    "numpy",
    "_codecs",
)
_IGNORED_TORCH = ("device", "float64", "float32", "float16", "bfloat16")
ReadStorage = Callable[["Storage"], bytes]
_BUILTINS = ("builtins", "__builtin__")  # of Python 3 and 2
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


def _mapping(pairs: Any = (), *_: Any) -> dict[str, Any]:
    """Replace the constructors of dictionaries; Python 2's take a list of pairs."""
    return {key: value for key, value in _list(pairs) if type(key) is str}


def _list(items: Any = ()) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise ValueError("a list made from something else")
    return list(items)


def _first(tensor: Any, *_: Any) -> Any:
    """Replace functions that wrap a tensor as a parameter."""
    return tensor


_NAMES: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): lambda *_: {},
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch", "Size"): lambda items=(): tuple(_list(items)),
    **{(module, "dict"): _mapping for module in _BUILTINS},
    **{(m, name): _list for m in _BUILTINS for name in ("list", "set", "frozenset")},
    **{("torch", name): IGNORED for name in _IGNORED_TORCH},
    **{("torch", name): name for name in DTYPES},
}


def is_torch_file(path: Path) -> bool:
    """Return whether a file begins like one of torch's formats."""
    with path.open("rb") as file:
        head = file.read(64)
    return head.startswith(b"PK\x03\x04") or _starts_as_legacy(head)


def _starts_as_legacy(head: bytes) -> bool:
    return LEGACY_MAGIC.to_bytes(10, "little") in head[:20]


def open_torch_file(
    path: Path,
) -> contextlib.AbstractContextManager[tuple[Any, ReadStorage]]:
    """Open a file of `torch.save`.

    Nothing in the file is executed. The numbers are read later; all storages together are at most
    as large as the file.

    Returns:
        A context that gives the object, with a `StoredTensor` for each tensor, and a function that
        reads a storage.

    Raises:
        UserError: It asks to call a function.
        Exception: It is damaged or too large; the caller adds the file's name.
    """
    with path.open("rb") as file:
        legacy = _starts_as_legacy(file.read(64))
    return _open_legacy(path) if legacy else _open_zip(path)


class _Pickles(Unpickler):
    """The pickles of a torch file, and their storages by key."""

    def __init__(self, file: io.BytesIO, path: Path):
        super().__init__(file, _NAMES, str(path), ignored=_IGNORED, load_persistent=self._storage)
        self.storages: dict[str, Storage] = {}

    def _storage(self, identifier: Any) -> Storage:
        storage = Storage.of(identifier)
        return self.storages.setdefault(storage.key, storage)


class _Archive(io.FileIO):
    """A file whose reads are limited until the list of its members has been read."""

    bounded = True

    def read(self, size: int = -1) -> bytes:
        if self.bounded and size > _MAX_DIRECTORY:
            raise ValueError(f"a list of members of more than {_MAX_DIRECTORY} bytes")
        return super().read(size)


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[tuple[Any, ReadStorage]]:
    with _Archive(path) as file, zipfile.ZipFile(file) as archive:
        file.bounded = False
        members = {member.filename: member for member in archive.infolist()}
        _check_members(archive, path.stat().st_size)
        roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
        if not roots:
            raise ValueError("a zip file without data.pkl")
        root, order = roots[0], f"{roots[0]}byteorder"
        if order in members and archive.read(order) != b"little":
            raise ValueError("it was written by a big-endian machine")
        if members[f"{root}data.pkl"].file_size > _MAX_PICKLE:
            raise ValueError(f"a pickle of more than {_MAX_PICKLE} bytes")

        def read(storage: Storage) -> bytes:
            member = members[f"{root}data/{storage.key}"]
            if member.file_size != storage.nbytes:
                raise ValueError("a storage has another size than declared")
            return archive.read(member)

        content = _Pickles(io.BytesIO(archive.read(f"{root}data.pkl")), path).load()
        yield content, read


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError unless the members are distinct and uncompressed, as torch writes them."""
    members = archive.infolist()
    if len(archive.NameToInfo) != len(members):
        raise ValueError("two members with the same name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("a compressed member, which torch does not write")
    if sum(max(member.file_size, member.compress_size) for member in members) > size:
        raise ValueError("members larger than the file")


@contextlib.contextmanager
def _open_legacy(path: Path) -> Iterator[tuple[Any, ReadStorage]]:
    with path.open("rb") as file:
        head = io.BytesIO(file.read(_MAX_PICKLE))
        pickles = _Pickles(head, path)
        # The number, the version, the sizes of types, the object, the keys of the storages.
        *_, content, keys = (pickles.load() for _ in range(5))
        offsets = _legacy_offsets(file, head.tell(), _list(keys), pickles.storages)

        def read(storage: Storage) -> bytes:
            file.seek(offsets[storage.key])
            return file.read(storage.nbytes)

        yield content, read


def _legacy_offsets(
    file: IO[bytes], offset: int, keys: Iterable[Any], storages: Mapping[str, Storage]
) -> dict[str, int]:
    """Return the offset of the numbers of each storage.

    Args:
        file: The file.
        offset: The offset of the first storage: its number of elements, then the elements.
        keys: The keys of the storages, in their order in the file.
        storages: By their keys.

    Raises:
        ValueError: A storage is unknown, of another size than it says, or cut off.
    """
    size, offsets = file.seek(0, os.SEEK_END), {}
    for key in keys:
        if type(key) is not str or key not in storages:
            raise ValueError("a storage that no tensor uses")
        file.seek(offset)
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storages[key].numel:
            raise ValueError("a storage has another size than declared")
        offsets[key] = offset + 8
        offset += 8 + storages[key].nbytes
        if offset > size:
            raise ValueError("the file is incomplete")
    return offsets
