"""Reading files that torch wrote, files made here in its formats, and hostile files."""

import argparse
import collections
import io
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.models.pretrained import read_weights
from fcnjax.models.pretrained.torch_files.pickles import LEGACY_MAGIC

WEIGHTS = Path(__file__).parent / "files"
EXPECTED = dict(np.load(WEIGHTS / "tiny_expected.npz"))
STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


@pytest.fixture
def torch_names(monkeypatch):
    """Add modules with torch's names, so that pickles that name them can be written."""

    def define(module, name):
        def function():
            raise AssertionError("nothing of torch is called")

        function.__module__, function.__name__, function.__qualname__ = module, name, name
        setattr(sys.modules[module], name, function)
        return function

    for module in ("torch", "torch._utils"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    rebuild = define("torch._utils", "_rebuild_tensor_v2")
    return rebuild, {name: define("torch", name) for name in STORAGES.values()}


class Storage:
    def __init__(self, key, array, storage_type):
        self.key, self.array, self.type = str(key), array, storage_type


class View:
    def __init__(self, rebuild, storage, offset, shape, strides):
        arguments = (storage, offset, shape, strides, False, collections.OrderedDict())
        self.rebuild, self.arguments = rebuild, arguments

    def __reduce__(self):
        return self.rebuild, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", value.type, value.key, "cpu", len(value.array))
        return None


def pickled(value, protocol=2):
    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def write_zip(path, value, storages, protocol=2):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", pickled(value, protocol))
        archive.writestr("w/byteorder", "little")
        for storage in storages:
            archive.writestr(f"w/data/{storage.key}", storage.array.tobytes())


def write_legacy(path, value, storages):
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickled(part) for part in (LEGACY_MAGIC, 1001, sizes, value)]
    parts.append(pickled([storage.key for storage in storages]))
    for storage in storages:
        parts += [struct.pack("<q", len(storage.array)), storage.array.tobytes()]
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize(
    ("file", "prefix"),
    [
        ("tiny_zip.pth", ""),
        ("tiny_legacy.pth", ""),
        ("tiny_wrapped_ddp.pth", "module."),
        ("tiny_lightning_fp16.ckpt", "model."),
        ("tiny.safetensors", ""),
    ],
)
def test_torch_files_are_read(file, prefix):
    tensors = read_weights(WEIGHTS / file)
    assert tensors.keys() == {prefix + name for name in EXPECTED}
    for name, wanted in EXPECTED.items():
        if "fp16" in file:
            wanted = wanted.astype(np.float16)
        assert tensors[prefix + name].dtype == wanted.dtype
        np.testing.assert_array_equal(tensors[prefix + name], wanted)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_views_share_a_storage_at_any_stride(tmp_path, torch_names, write):
    rebuild, types_ = torch_names
    numbers = np.arange(24, dtype=np.float32)
    storage = Storage(0, numbers, types_["FloatStorage"])
    views = {
        "whole": View(rebuild, storage, 0, (4, 6), (6, 1)),
        "transposed": View(rebuild, storage, 0, (6, 4), (1, 6)),
        "part": View(rebuild, storage, 7, (2, 3), (6, 2)),
        "one": View(rebuild, storage, 5, (), ()),
        "none": View(rebuild, storage, 0, (0, 3), (3, 1)),
        "expanded": View(rebuild, storage, 2, (3, 2), (0, 1)),
    }
    write(tmp_path / "w.pth", views, [storage])
    tensors = read_weights(tmp_path / "w.pth")
    whole = numbers.reshape(4, 6)
    np.testing.assert_array_equal(tensors["whole"], whole)
    np.testing.assert_array_equal(tensors["transposed"], whole.T)
    np.testing.assert_array_equal(tensors["part"], whole[1:3, 1:6:2])
    np.testing.assert_array_equal(tensors["expanded"], [[2, 3]] * 3)
    assert tensors["one"] == 5
    assert tensors["one"].shape == ()
    assert tensors["none"].shape == (0, 3)


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_every_type_of_number(tmp_path, torch_names, write, kind):
    rebuild, types_ = torch_names
    dtype = np.dtype(getattr(ml_dtypes, kind) if kind == "bfloat16" else kind)
    numbers = np.asarray([0, 1, 1.5, 100.25]).astype(dtype)
    storage = Storage(0, numbers, types_[STORAGES[kind]])
    write(tmp_path / "w.pth", {"x": View(rebuild, storage, 0, (2, 2), (2, 1))}, [storage])
    read = read_weights(tmp_path / "w.pth")["x"]
    assert read.dtype == (np.float32 if kind == "bfloat16" else dtype)
    np.testing.assert_array_equal(read.ravel().astype(dtype), numbers)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle(tmp_path, torch_names, protocol):
    """torch.save accepts any protocol, and trainers save other objects beside the weights."""
    rebuild, types_ = torch_names
    storage = Storage(0, np.arange(6, dtype=np.float32), types_["FloatStorage"])
    view = View(rebuild, storage, 0, (2, 3), (3, 1))
    recursive = ([],)
    recursive[0].append(recursive)
    beside = {
        **{"set": {1, 2}, "frozen": frozenset("ab"), "bytes": b"x" * 300, "large": 2**70},
        **{"recursive": recursive, "numbers": (-1, 300, 70_000, 1.5, True, None)},
        **{"text": "\u00e9" * 300, "args": argparse.Namespace(rate=1), "scalar": np.float64(1)},
        "scores": np.arange(3.0),
    }
    content = beside | {"state_dict": collections.OrderedDict(a=view, b=view)}
    write_zip(tmp_path / "w.pth", content, [storage], protocol)
    tensors = read_weights(tmp_path / "w.pth")
    assert list(tensors) == ["a", "b"]
    for array in tensors.values():
        np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])


def test_bfloat16_safetensors(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    numbers = np.asarray([1.5, -3], ml_dtypes.bfloat16).tobytes()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    np.testing.assert_array_equal(read_weights(tmp_path / "w.safetensors")["a"], [1.5, -3])


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        *[(key, "") for key in ("model", "state_dict", "model_state_dict", "model_ema")],
        *[("network_weights", ""), ("student", "student."), ("params", "params.")],
    ],
)
def test_dictionaries_of_tensors(tmp_path, torch_names, key, prefix):
    """Dictionaries with usual names are removed; the key of another precedes its names."""
    rebuild, types_ = torch_names
    storage = Storage(0, np.ones(1, np.float32), types_["FloatStorage"])
    view = View(rebuild, storage, 0, (1,), (1,))
    tensors = {"module.a.weight": view, "b": {"bias": view}}
    optimizer = {"state": {0: {"exp_avg": view}}, "param_groups": [{"lr": 0.1}]}
    content = {"epoch": 3, "args": None, "note": "x", "optimizer": optimizer, key: tensors}
    write_zip(tmp_path / "w.pth", content, [storage])
    names = [f"{prefix}b.bias", f"{prefix}module.a.weight"]
    assert sorted(read_weights(tmp_path / "w.pth")) == names


@pytest.mark.parametrize("file", ["evil_zip.pth", "evil_legacy.pth"])
def test_hostile_files_raise_and_nothing_runs(tmp_path, monkeypatch, file):
    def no_system(*_):
        raise AssertionError("a command was run")

    monkeypatch.chdir(tmp_path)
    for name in ("system", "popen"):
        monkeypatch.setattr(f"os.{name}", no_system)
    with pytest.raises(UserError, match=r"asks to call \w+\.system") as caught:
        read_weights(WEIGHTS / file)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "os system",
        "torch.hub load",
        "torch._utils _import_dotted_name",
        "numpyx x",
        "collections namedtuple",
    ],
)
def test_any_other_name_raises(tmp_path, name):
    module, function = name.split()
    stream = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", stream)
    with pytest.raises(UserError, match=f"{module}.{function}"):
        read_weights(tmp_path / "w.pth")


def test_objects_of_trainers_are_ignored(tmp_path, torch_names):
    rebuild, types_ = torch_names
    storage = Storage(0, np.ones(1, np.float32), types_["FloatStorage"])
    content = {
        "args": argparse.Namespace(rate=1),
        "best": np.float64(2),
        "where": Path("x"),
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "state_dict": {"a": View(rebuild, storage, 0, (1,), (1,))},
    }
    write_zip(tmp_path / "w.pth", content, [storage])
    assert list(read_weights(tmp_path / "w.pth")) == ["a"]


@pytest.mark.parametrize("file", ["tiny_zip.pth", "tiny_legacy.pth", "tiny.safetensors"])
def test_every_truncation_raises_one_line(tmp_path, file):
    whole = (WEIGHTS / file).read_bytes()
    for length in range(0, len(whole), 61):
        cut = tmp_path / file
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError) as caught:
            read_weights(cut)
        assert str(cut) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((5, 5), (5, 1), 0),
        ((2, 2), (2, 1), 21),
        ((2,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2,), (1,), -1),
        ((2**20, 2**20), (0, 0), 0),
    ],
)
def test_tensor_outside_its_storage_raises(tmp_path, torch_names, shape, strides, offset):
    rebuild, types_ = torch_names
    storage = Storage(0, np.zeros(24, np.float32), types_["FloatStorage"])
    write_zip(tmp_path / "w.pth", {"x": View(rebuild, storage, offset, shape, strides)}, [storage])
    with pytest.raises(UserError, match="damaged"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x89PNG", b"\xff" * 99])
def test_other_files_raise(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pth: cannot be read as weights"):
        read_weights(tmp_path / "w.pth")


def test_missing_file_and_empty_file_raise(tmp_path, torch_names):
    with pytest.raises(UserError, match="no such weight file"):
        read_weights(tmp_path / "none.pth")
    write_zip(tmp_path / "w.pth", {"epoch": 1}, [])
    with pytest.raises(UserError, match="has no tensors"):
        read_weights(tmp_path / "w.pth")
