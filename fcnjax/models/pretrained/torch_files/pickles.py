"""torch's two checkpoint formats, read without torch and without executing anything in them.

A pickle names functions to call. Here a name resolves only to what stands in `_NAMES`, all of it
ours and harmless; names of known packages that checkpoints carry along become an object without
effect; any other name ends the reading before anything was built from it.
"""

import contextlib
import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from fcnjax.models.pretrained.torch_files.stored_tensors import (
    DTYPES,
    Storage,
    rebuild_tensor,
    storage_of,
)
from fcnjax.models.pretrained.torch_files.unpickler import IGNORED, Unpickler

# torch.save's before version 1.6: a number, a version, sizes of types, the object, the storages.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# Of the pickles of a file; the numbers of its tensors are outside of them.
_MAX_PICKLE = 2**26
# Of the list of a zip file's members: 50,000 storages take 4 MB.
_MAX_DIRECTORY = 2**22
# Modules of settings, loggers and trainers: what they name is left out of what is read.
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
ReadStorage = Callable[[Storage], bytes]


def _mapping(pairs: Any = (), *_: Any) -> dict[str, Any]:
    """Stands for the constructors of dictionaries; Python 2's take a list of pairs."""
    return {key: value for key, value in _list(pairs) if type(key) is str}


def _default_mapping(*_: Any) -> dict[str, Any]:
    return {}


def _list(items: Any = ()) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise ValueError("a list that is made of something else")
    return list(items)


def _size(items: Any = ()) -> tuple[Any, ...]:
    return tuple(_list(items))


def _first(tensor: Any, *_: Any) -> Any:
    """Stands for what wraps a tensor as a parameter."""
    return tensor


_NAMES: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): _default_mapping,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch", "Size"): _size,
    **{(module, "dict"): _mapping for module in ("builtins", "__builtin__")},
    **{
        (module, name): _list
        for module in ("builtins", "__builtin__")
        for name in ("list", "set", "frozenset")
    },
    **{
        ("torch", name): IGNORED for name in ("device", "float64", "float32", "float16", "bfloat16")
    },
    **{("torch", name): name for name in DTYPES},
}


def is_torch_file(path: Path) -> bool:
    """Return whether a file begins as one of torch's formats."""
    with path.open("rb") as file:
        head = file.read(64)
    return head.startswith(b"PK\x03\x04") or _starts_as_legacy(head)


def _starts_as_legacy(head: bytes) -> bool:
    return LEGACY_MAGIC.to_bytes(10, "little") in head[:20]


@contextlib.contextmanager
def open_torch_file(path: Path) -> Iterator[tuple[Any, ReadStorage]]:
    """Opens what `torch.save` wrote.

    Nothing in the file is executed. The numbers are not read yet: no storage is larger than the
    file, and all together are not.

    Yields:
        The object, with a `StoredTensor` for each tensor, and the function that reads a storage.

    Raises:
        UserError: It asks for something to be called.
        Exception: It is cut off, damaged or too large; the caller names the file.
    """
    with path.open("rb") as file:
        legacy = _starts_as_legacy(file.read(64))
    opened = _open_legacy if legacy else _open_zip
    with opened(path) as content_and_reader:
        yield content_and_reader


class _Pickles(Unpickler):
    """The pickles of a torch file, and the storages that they name, by their keys."""

    def __init__(self, file: io.BytesIO, path: Path):
        super().__init__(file, _NAMES, str(path), ignored=_IGNORED, load_persistent=self._storage)
        self.storages: dict[str, Storage] = {}

    def _storage(self, identifier: Any) -> Storage:
        storage = storage_of(identifier)
        return self.storages.setdefault(storage.key, storage)


class _Archive(io.FileIO):
    """A file whose reads are bounded until the list of its members was read."""

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
                raise ValueError("a storage has another size than it says")
            return archive.read(member)

        content = _Pickles(io.BytesIO(archive.read(f"{root}data.pkl")), path).load()
        yield content, read


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Raises ValueError unless the members can be what torch writes: distinct and uncompressed."""
    members = archive.infolist()
    if len(archive.NameToInfo) != len(members):
        raise ValueError("two members of one name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("a compressed member, which torch does not write")
    if sum(max(member.file_size, member.compress_size) for member in members) > size:
        raise ValueError("members that are larger than the file")


@contextlib.contextmanager
def _open_legacy(path: Path) -> Iterator[tuple[Any, ReadStorage]]:
    with path.open("rb") as file:
        head = io.BytesIO(file.read(_MAX_PICKLE))
        pickles = _Pickles(head, path)
        # The number, the version, the sizes of types, the object, the keys of the storages.
        *_, content, keys = (pickles.load() for _ in range(5))
        places = _legacy_places(file, head.tell(), _list(keys), pickles.storages)

        def read(storage: Storage) -> bytes:
            file.seek(places[storage.key])
            return file.read(storage.nbytes)

        yield content, read


def _legacy_places(
    file: IO[bytes], place: int, keys: Iterable[Any], storages: Mapping[str, Storage]
) -> dict[str, int]:
    """Finds where the numbers of each storage begin.

    Args:
        file: The file.
        place: Of the first storage. Each is its number of elements, and the elements.
        keys: The keys of the storages, in their order in the file.
        storages: By their keys.

    Raises:
        ValueError: A storage is unknown, of another size than it says, or cut off.
    """
    size, places = file.seek(0, os.SEEK_END), {}
    for key in keys:
        if type(key) is not str or key not in storages:
            raise ValueError("a storage that no tensor has")
        file.seek(place)
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storages[key].numel:
            raise ValueError("a storage has another size than it says")
        places[key] = place + 8
        place += 8 + storages[key].nbytes
        if place > size:
            raise ValueError("it is cut off")
    return places
