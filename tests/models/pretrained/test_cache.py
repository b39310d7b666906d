"""Copies of torch files as safetensors."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors

from fcnjax.errors import UserError
from fcnjax.io import safetensors_files
from fcnjax.io.atomic_files import sha256
from fcnjax.models.pretrained import read_weights, reader
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources import Weights, fetch_weights

FILES = Path(__file__).parent / "files"
TORCH = ["tiny_zip.pth", "tiny_legacy.pth", "tiny_wrapped_ddp.pth", "tiny_lightning_fp16.ckpt"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def unpickled(monkeypatch):
    """Record the files that are read without their copy."""
    calls = []

    def read(path):
        calls.append(path.name)
        return read_weights(path)

    monkeypatch.setattr(reader, "read_weights", read)
    return calls


def assert_equal(tensors, wanted):
    assert tensors.keys() == wanted.keys()
    for name, array in wanted.items():
        assert tensors[name].dtype == array.dtype
        assert tensors[name].shape == array.shape
        np.testing.assert_array_equal(tensors[name], array)


@pytest.mark.parametrize("name", TORCH)
def test_torch_file_is_unpickled_once(name, folder, unpickled):
    weights = fetch_weights(str(FILES / name))
    first = read_tensors(weights)
    second = read_tensors(weights)
    assert unpickled == [name]
    for tensors in (first, second):
        assert_equal(tensors, read_weights(FILES / name))
    copy = folder / f"{sha256(FILES / name)}.safetensors"
    assert list(folder.iterdir()) == [copy]
    with safetensors.safe_open(copy, framework="np") as file:
        told = file.metadata()
    assert told["source"] == str(FILES / name)
    assert told["format_version"] == reader.FORMAT_VERSION


def test_same_content_has_one_copy(tmp_path, folder, unpickled):
    shutil.copy(FILES / "tiny_zip.pth", tmp_path / "other.pt")
    read_tensors(fetch_weights(str(FILES / "tiny_zip.pth")))
    read_tensors(fetch_weights(str(tmp_path / "other.pt")))
    assert unpickled == ["tiny_zip.pth"]
    # A changed file has another copy.
    shutil.copy(FILES / "tiny_legacy.pth", tmp_path / "other.pt")
    read_tensors(fetch_weights(str(tmp_path / "other.pt")))
    assert unpickled == ["tiny_zip.pth", "other.pt"]
    assert len(list(folder.iterdir())) == 2


def damage_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: damage_byte(path, 3),
        lambda path: damage_byte(path, 40),
        lambda path: damage_byte(path, -5),
        lambda path: path.write_bytes(
            path.read_bytes().replace(b'"format_version":"2"', b'"format_version":"1"')
        ),
        lambda path: shutil.copy(FILES / "tiny.safetensors", path),
    ],
)
def test_damaged_copy_is_made_again(damage, folder, unpickled):
    weights = fetch_weights(str(FILES / "tiny_zip.pth"))
    wanted = read_tensors(weights)
    (copy,) = folder.iterdir()
    damage(copy)
    assert_equal(read_tensors(weights), wanted)
    assert_equal(read_tensors(weights), wanted)
    assert unpickled == ["tiny_zip.pth"] * 2
    assert list(folder.iterdir()) == [copy]


@pytest.mark.parametrize("name", ["evil_zip.pth", "evil_legacy.pth"])
def test_hostile_file_leaves_no_copy(name, folder):
    with pytest.raises(UserError, match="asks to call"):
        read_tensors(fetch_weights(str(FILES / name)))
    assert not folder.exists()


def test_truncated_or_missing_file_leaves_no_copy(tmp_path, folder):
    cut = tmp_path / "cut.pth"
    cut.write_bytes((FILES / "tiny_zip.pth").read_bytes()[:300])
    with pytest.raises(UserError, match=r"cut\.pth: cannot be read as weights"):
        read_tensors(fetch_weights(str(cut)))
    with pytest.raises(UserError, match=r"gone\.pth: no such weight file"):
        read_tensors(Weights("gone.pth", tmp_path / "gone.pth"))
    assert not folder.exists()


def test_safetensors_are_not_copied(folder, unpickled):
    tensors = read_tensors(fetch_weights(str(FILES / "tiny.safetensors")))
    assert_equal(tensors, read_weights(FILES / "tiny.safetensors"))
    assert unpickled == ["tiny.safetensors"]
    assert not folder.exists()


def test_full_disk_is_logged(folder, monkeypatch):
    """safetensors raises its own exception, which is not an OSError."""

    def save(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors_files, "save_file", save)
    said = []
    tensors = read_tensors(fetch_weights(str(FILES / "tiny_zip.pth")), said.append)
    assert_equal(tensors, read_weights(FILES / "tiny_zip.pth"))
    assert len(said) == 1
    assert "cannot be written: I/O error: No space left" in said[0]
    assert list(folder.iterdir()) == []


def test_unreadable_file_raises_one_line(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(reader, "sha256", refuse)
    with pytest.raises(UserError, match=r"tiny_zip\.pth: cannot be read: Permission denied"):
        read_tensors(fetch_weights(str(FILES / "tiny_zip.pth")))


def test_path_that_is_not_utf_8_is_copied(tmp_path, folder, unpickled):
    path = tmp_path / os.fsdecode(b"\xff.pth")
    shutil.copy(FILES / "tiny_zip.pth", path)
    for _ in range(2):
        assert_equal(read_tensors(fetch_weights(str(path))), read_weights(path))
    assert unpickled == [path.name]


def test_unwritable_cache_is_logged(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "file"))
    said = []
    tensors = read_tensors(fetch_weights(str(FILES / "tiny_zip.pth")), said.append)
    assert_equal(tensors, read_weights(FILES / "tiny_zip.pth"))
    assert len(said) == 1
    assert "cannot be written" in said[0]
    assert "again next time" in said[0]
