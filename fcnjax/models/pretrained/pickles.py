"""Reads torch's two checkpoint formats without torch, and without running a pickle.

A pickle names functions to call. Here a name resolves only to what stands in `_ALLOWED`, all of it
ours and harmless; names of known, inert things that checkpoints carry along become an empty object;
any other name ends the reading before anything was built from it.
"""

import collections
import io
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from fcnjax.errors import UserError

# torch.save's before version 1.6: a number, a version, sizes of types, the object, the storages.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
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
# Modules of settings, loggers and trainers: what they name is left out of what is read.
_INERT = (
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


@dataclass
class _Storage:
    dtype: np.dtype
    numel: int
    content: bytes = b""


@dataclass
class _Tensor:
    """A view of a storage, made an array once the storages are read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        if any(side < 0 for side in self.shape) or any(step < 0 for step in self.strides):
            raise ValueError("a tensor has a negative size")
        count = self.storage.numel
        whole = np.frombuffer(self.storage.content, self.storage.dtype, count)
        if 0 in self.shape:
            return np.zeros(self.shape, whole.dtype)
        reach = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        if self.offset < 0 or self.offset + sum(reach) >= count:
            raise ValueError("a tensor reaches beyond its storage")
        strides = [step * whole.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(whole[self.offset :], self.shape, strides)
        return view.copy()


class _Inert:
    """Stands for an object that is not weights; takes anything and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any):
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor has no storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Inert,
    **{("torch", name): np.dtype(dtype) for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], path: Path):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if any(module == inert or module.startswith(f"{inert}.") for inert in _INERT):
            return _Inert
        raise UserError(
            f"{self._path}: is refused: it asks to call {module}.{name}, which weights do not "
            "need; nothing of it was run"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, numel = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError("a storage of an unknown kind")
        return self.storages.setdefault(str(key), _Storage(dtype, int(numel)))


def is_torch_file(path: Path) -> bool:
    """Whether the file begins as one of torch's formats."""
    with path.open("rb") as file:
        head = file.read(64)
    return head.startswith(b"PK\x03\x04") or _starts_as_legacy(head)


def _starts_as_legacy(head: bytes) -> bool:
    return LEGACY_MAGIC.to_bytes(10, "little") in head[:20]


def read_torch_file(path: Path) -> Any:
    """The object that `torch.save` wrote, its tensors as arrays; nothing in it is executed.

    Raises:
        UserError: It asks for something to be called.
        Exception: It is cut off or damaged; the caller names the file.
    """
    content = path.read_bytes()
    read = _read_legacy if _starts_as_legacy(content[:64]) else _read_zip
    return _arrays(read(content, path))


def _read_zip(content: bytes, path: Path) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        root = root.removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != (
            b"little"
        ):
            raise ValueError("it was written by a big-endian machine")
        unpickler = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl")), path)
        found = unpickler.load()
        for key, storage in unpickler.storages.items():
            storage.content = archive.read(f"{root}data/{key}")
    return found


def _read_legacy(content: bytes, path: Path) -> Any:
    file = io.BytesIO(content)
    for _ in range(3):  # the number, the version, the sizes
        _Unpickler(file, path).load()
    unpickler = _Unpickler(file, path)
    found = unpickler.load()
    for key in _Unpickler(file, path).load():
        storage = unpickler.storages[str(key)]
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storage.numel:
            raise ValueError("a storage has another size than it says")
        storage.content = file.read(numel * storage.dtype.itemsize)
    return found


def _arrays(value: Any) -> Any:
    if isinstance(value, _Tensor):
        return value.array()
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_arrays(item) for item in value]
    return value
