"""Reads torch's two checkpoint formats without torch, and without running a pickle.

A pickle names functions to call. Here a name resolves only to what stands in `_ALLOWED`, all of it
ours and harmless; names of known, inert things that checkpoints carry along become an empty object;
any other name ends the reading before anything was built from it.
"""

import collections
import io
import math
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
# A tensor may repeat the numbers of its storage (stride 0), but not without bound.
_MOST_REPEATED = 2**24


@dataclass(slots=True)
class _Storage:
    dtype: np.dtype
    numel: int
    content: bytes = b""


@dataclass(slots=True)
class StoredTensor:
    """A view of a storage, of which `array` makes an array of its own."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Copies the numbers out.

        Raises:
            ValueError: The view does not lie within its storage.
        """
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
        if math.prod(self.shape) > max(count, _MOST_REPEATED):
            raise ValueError("a tensor is far larger than its storage")
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

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "_Inert":
        return self


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any):
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor has no storage")
    return StoredTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _defaultdict(*_: Any) -> dict:
    return {}


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_BUILTINS = ("builtins", "__builtin__")
_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("collections", "defaultdict"): _defaultdict,
    **{(module, kind.__name__): kind for module in _BUILTINS for kind in (dict, list, set)},
    ("torch", "device"): _Inert,
    **{("torch", name): _Inert for name in ("float64", "float32", "float16", "bfloat16")},
    # By name: a pickle may change the state of any object, and dtypes are everyone's.
    **{("torch", name): name for name in _DTYPES},
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
        kind, name, key, _, numel = pid[:5]
        if kind != "storage" or name not in _DTYPES or any(pid[5:]):
            raise ValueError("a storage of an unknown kind")
        storage = _Storage(np.dtype(_DTYPES[name]), int(numel))
        return self.storages.setdefault(str(key), storage)


def is_torch_file(path: Path) -> bool:
    """Whether the file begins as one of torch's formats."""
    with path.open("rb") as file:
        head = file.read(64)
    return head.startswith(b"PK\x03\x04") or _starts_as_legacy(head)


def _starts_as_legacy(head: bytes) -> bool:
    return LEGACY_MAGIC.to_bytes(10, "little") in head[:20]


def read_torch_file(path: Path) -> Any:
    """The object that `torch.save` wrote, with a `StoredTensor` for each tensor.

    Nothing in the file is executed.

    Raises:
        UserError: It asks for something to be called.
        Exception: It is cut off or damaged; the caller names the file.
    """
    content = path.read_bytes()
    read = _read_legacy if _starts_as_legacy(content[:64]) else _read_zip
    return read(content, path)


def _read_zip(content: bytes, path: Path) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if not roots:
            raise ValueError("a zip file without data.pkl")
        root, order = roots[0], f"{roots[0]}byteorder"
        if order in names and archive.read(order) != b"little":
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
