"""Weight files made to crash the process, to use all memory, or to run forever."""

import io
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.models.pretrained import read_weights, reader
from fcnjax.models.pretrained.torch_files import unpickler
from fcnjax.models.pretrained.torch_files.numpy_pickles import read_arrays
from fcnjax.models.pretrained.torch_files.pickles import LEGACY_MAGIC

FOUR = {"0": np.arange(4, dtype=np.float32).tobytes()}


def text(content):
    return b"X" + struct.pack("<I", len(content)) + content


def integer(value):
    return b"J" + struct.pack("<i", value)


ZERO, A = text(b"0"), text(b"a")


def storage(name=b"ctorch\nFloatStorage\n", key=ZERO, numel=4):
    parts = (text(b"storage"), name, key, text(b"cpu"), integer(numel))
    return b"(" + b"".join(parts) + b"tQ"


def tensor(source=None, offset=0, shape=(4,), strides=(1,)):
    sizes = [b"(" + b"".join(map(integer, axes)) + b"t" for axes in (shape, strides)]
    parts = (source or storage(), integer(offset), *sizes, b"\x89}")
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + b"".join(parts) + b"tR"


def state(*items):
    """Return a pickle of a dictionary; each item is a key and a value in opcodes."""
    return b"\x80\x02}" + b"".join(item + b"s" for item in items) + b"."


def zipped(pickle, storages=FOUR, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("w/data.pkl", pickle)
        for key, content in storages.items():
            archive.writestr(f"w/data/{key}", content)
    return file.getvalue()


def legacy(pickle, keys=(b"0",), sizes=(4,), content=FOUR["0"]):
    magic = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."
    keys = b"\x80\x02]" + b"".join(text(key) + b"a" for key in keys) + b"."
    numbers = b"".join(struct.pack("<q", size) + content for size in sizes)
    return magic + b"\x80\x02K\x01." + b"\x80\x02}." + pickle + keys + numbers


def doubled(first, pair, count):
    """Return opcodes of `first` and of `count` objects with two references to the one before."""
    opcodes = first + b"q\x00"
    for i in range(count):
        before = b"h" + bytes([i])
        opcodes += b"0" + pair(before) + b"q" + bytes([i + 1])
    return opcodes


TUPLES = doubled(b")", lambda before: before * 2 + b"\x86", 60)
DICTS = doubled(
    b"}", lambda before: b"}" + text(b"a") + before + b"s" + text(b"b") + before + b"s", 30
)
TENSORS = DICTS.replace(b"}q\x00", b"}" + text(b"x") + tensor() + b"sq\x00", 1)
COPIED = b"\x80\x02(" + b"N" * 5_000 + b"tq\x00%sq\x01" + b"h\x01h\x00\x85R" * 5 + b"."
SPREAD = tensor(shape=(2**22,), strides=(0,))
GOOD = text(b"a") + tensor()


@pytest.fixture
def low_limits(monkeypatch):
    """Lower the limits so that small files reach them."""
    monkeypatch.setattr(unpickler, "MAX_STEPS", 20_000)
    monkeypatch.setattr(unpickler, "_MAX_VALUES", 1000)
    monkeypatch.setattr(reader, "MAX_TENSORS", 256)


HOSTILE = {
    "nested tuples": (zipped(b"\x80\x02)" + b"\x85" * 10_000 + b"."), "not a dictionary"),
    "dictionaries that double": (zipped(b"\x80\x02" + DICTS + b"."), "more than 1000 values"),
    "wrappers that double": (
        zipped(state(text(b"model") + DICTS, text(b"state_dict") + b"h\x1e")),
        "more than 1000 values",
    ),
    "tensors that double": (zipped(b"\x80\x02" + TENSORS + b"."), "more than 256 tensors"),
    "a dictionary in itself": (
        zipped(b"\x80\x02}q\x00" + GOOD + b"s" + text(b"b") + b"h\x00s."),
        "nested more than 32 deep",
    ),
    "a storage of a nested type": (
        zipped(state(text(b"a") + tensor(storage(TUPLES)))),
        "storage of an unknown type",
    ),
    "a storage of a nested key": (
        zipped(state(text(b"a") + tensor(storage(key=TUPLES)))),
        "without a name or a size",
    ),
    "a storage of negative size": (
        zipped(state(text(b"a") + tensor(storage(numel=-1)))),
        "without a name or a size",
    ),
    "a nested identifier": (
        zipped(b"\x80\x02" + TUPLES + b"Q."),
        "invalid description",
    ),
    "steps": (zipped(b"\x80\x02" + b"}" * 20_001 + b"."), "more than 20000 steps"),
    "a size copied": (zipped(COPIED % b"ctorch\nSize\n"), "more than 20000 steps"),
    "a list copied": (zipped(COPIED % b"cbuiltins\nlist\n"), "more than 20000 steps"),
    "a set copied": (zipped(COPIED % b"cbuiltins\nset\n"), "more than 20000 steps"),
    "a size of a text": (zipped(b"\x80\x02ctorch\nSize\nX\1\0\0\0a\x85R."), "made from something"),
    "an integer of megabytes": (
        zipped(b"\x80\x02\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b"."),
        "an integer of more than 32 bytes",
    ),
    "a claimed integer": (zipped(b"\x80\x02\x8b\xff\xff\xff\x7f."), "not enough data"),
    "a claimed text": (zipped(b"\x80\x02X\xff\xff\xff\xff."), "only 1 remain"),
    "claimed bytes": (zipped(b"\x80\x04\x8e" + b"\xff" * 7 + b"\0."), "only 1 remain"),
    "a claimed byte array": (zipped(b"\x80\x05\x96" + b"\xff" * 7 + b"\0."), "only 1 remain"),
    "an extension": (zipped(b"\x80\x02\x82\x01."), "opcode EXT1"),
    "an instance": (zipped(b"(ios\nsystem\n."), "opcode INST"),
    "a stride of 0": (
        zipped(state(text(b"a") + tensor(shape=(2**30,), strides=(0,)))),
        "far larger than the file",
    ),
    "strides of 0": (
        zipped(state(*(text(b"%d" % i) + SPREAD for i in range(9)))),
        "far larger than the file",
    ),
    "too many axes": (
        zipped(state(text(b"a") + tensor(shape=(1,) * 65, strides=(1,) * 65))),
        "invalid shape or strides",
    ),
    "a deflated storage": (
        zipped(
            state(text(b"a") + tensor(storage(numel=2**18), shape=(2**18,))),
            {"0": bytes(2**20)},
            zipfile.ZIP_DEFLATED,
        ),
        "a compressed member",
    ),
    "a storage of another size": (
        zipped(state(text(b"a") + tensor(storage(numel=3), shape=(3,)))),
        "another size than declared",
    ),
    "no storage": (zipped(state(GOOD), {}), "w/data/0"),
    "a long name": (zipped(state(text(b"a" * 501) + tensor())), "more than 500 characters"),
    "a name of two lines": (zipped(state(text(b"a\nb") + tensor())), r"invalid name 'a\\nb'"),
    "a reserved name": (zipped(state(text(b"__metadata__") + tensor())), "invalid name"),
    "a legacy storage of negative size": (legacy(state(GOOD), sizes=(-1,)), "another size"),
    "legacy storages of one name": (legacy(state(GOOD), (b"0", b"0")), "requires a buffer"),
    "an unknown legacy storage": (legacy(state(GOOD), (b"1",)), "that no tensor uses"),
    "a legacy storage cut off": (legacy(state(GOOD), content=b""), "incomplete"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_raises_one_line(tmp_path, low_limits, name):
    content, words = HOSTILE[name]
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: cannot be read as weights")
    assert "\n" not in str(caught.value)


READ = {
    # Entries under keys that are not strings are ignored, however nested.
    "a nested key": zipped(state(b")" + b"\x85" * 300 + b"N", GOOD)),
    "a key that doubles": zipped(state(TUPLES + b"N", GOOD)),
    "other keys": zipped(state(b"K\x01N", b"NN", b"\x88N", GOOD)),
    "a memo index": zipped(state(GOOD, text(b"b") + b"Nr\xff\xff\xff\x7f")),
    "pairs": zipped(
        b"\x80\x02ccollections\nOrderedDict\n](]" + text(b"a") + b"a" + tensor() + b"ae\x85R."
    ),
    "legacy with a memo index": legacy(state(GOOD, text(b"b") + b"Nr\xff\xff\xff\x7f")),
    "legacy with garbage after it": legacy(state(GOOD)) + b"garbage",
}


@pytest.mark.parametrize("name", READ)
def test_odd_but_harmless_files_are_read(tmp_path, name):
    (tmp_path / "w.pth").write_bytes(READ[name])
    (item,) = read_weights(tmp_path / "w.pth").items()
    assert item[0] == "a"
    np.testing.assert_array_equal(item[1], [0, 1, 2, 3])


def test_tied_weights_are_read(tmp_path):
    """Tensors of one storage that together are three times as large as the file."""
    numbers = np.arange(2**20, dtype=np.float32)
    one = tensor(storage(numel=2**20), shape=(2**10, 2**10), strides=(2**10, 1))
    pickle = state(*(text(name) + one for name in (b"a", b"b", b"c")))
    (tmp_path / "w.pth").write_bytes(zipped(pickle, {"0": numbers.tobytes()}))
    tensors = read_weights(tmp_path / "w.pth")
    assert list(tensors) == ["a", "b", "c"]
    for array in tensors.values():
        np.testing.assert_array_equal(array, numbers.reshape(2**10, 2**10))


def directory(count, size=None):
    """Return a zip file that lists `count` more members than it has."""
    whole = zipped(state(GOOD), {**FOUR, "1": bytes(1000)})
    end = whole.rindex(b"PK\5\6")
    (start,) = struct.unpack_from("<I", whole, end + 16)
    last = whole.rindex(b"PK\1\2", 0, end)
    entry = whole[last:end]
    extra = b"".join(entry[:-6] + b"%06x" % i for i in range(count))
    members = whole[start:end] + extra
    size = len(members) if size is None else size
    record = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0, 0, size, start, 0)
    return whole[:start] + members + record


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (directory(100_000), "a list of members of more than 4194304 bytes"),
        (directory(100, 2**31), "Bad offset|list of members"),
        (directory(40), "larger than the file"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)
def test_zip_file_that_lists_missing_members_raises(tmp_path, content, words):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_weights(tmp_path / "w.pth")


def test_two_members_with_one_name_raise(tmp_path):
    content = zipped(state(GOOD), {**FOUR, "1": bytes(16)}).replace(b"w/data/1", b"w/data/0")
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match="two members with the same name"):
        read_weights(tmp_path / "w.pth")


HUNGRY = {
    "dictionaries": zipped(b"\x80\x02" + b"}" * 2**22 + b"."),
    "text": zipped(state(text(b"a" * 2**25 + "\U0001f600".encode()) + b"N")),
    "index": zipped(state(GOOD, text(b"b") + b"Nr\xff\xff\xff\x7f")),
    "strides": zipped(state(*(text(b"%d" % i) + SPREAD for i in range(200)))),
}
LIMITED = """
import resource, sys
from pathlib import Path
from fcnjax.errors import UserError
from fcnjax.models.pretrained import read_weights
status = Path("/proc/self/status").read_text()
limit = 1024 * int(status.split("VmData:")[1].split()[0]) + 2**30
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for path in sys.argv[1:]:
    try:
        read_weights(path)
        print("read")
    except UserError as error:
        print("MemoryError" if "MemoryError" in str(error) else "refused")
"""


def test_memory_and_time_are_bounded(tmp_path):
    for name, content in HUNGRY.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", LIMITED, *(str(tmp_path / name) for name in HUNGRY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["refused", "refused", "read", "refused"]


def array(code=b"f4", shape=b"K\x02\x85", content=b"C\x08" + bytes(8), order=b"<", key=A):
    """Return a pickle of a dictionary with an array, as NumPy writes it."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    dtype = b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R(K\x03" + text(order) + b"NNNttb"
    dtype = dtype.replace(b"NNNtt", b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
    filled = b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"
    return b"\x80\x03}" + key + reconstruct + filled + b"s."


def test_numpy_arrays_are_read():
    np.testing.assert_array_equal(read_arrays(array(), "w.ckpt")["a"], [0, 0])
    nested = b")" + b"\x85" * 300 + b"Ns" + text(b"a")
    np.testing.assert_array_equal(read_arrays(array(key=nested), "w.ckpt")["a"], [0, 0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (array(code=b"O8"), "a type that is not a number"),
        (array(order=b"x"), "invalid byte order"),
        (array(shape=TUPLES), "invalid shape"),
        (array(shape=b"K\x03\x85"), "another size than declared"),
        (array(content=b"N"), "without numbers"),
        (array(key=text(b"a" * 501)), "more than 500 characters"),
        (b"\x80\x02" + DICTS + b".", "more than 1000 values"),
        (b"\x80\x02" + b"}" * 20_001 + b".", "more than 20000 steps"),
        (b"\x80\x02" + TUPLES + b"Q.", "an unexpected persistent identifier"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)
def test_hostile_numpy_arrays_raise(low_limits, content, words):
    with pytest.raises(UserError, match=words) as caught:
        read_arrays(content, "w.ckpt")
    assert str(caught.value).startswith("w.ckpt: cannot be read as a pickle of arrays")
