"""Errors of files that cannot be written."""

import errno
import os

import pytest

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic, remove_leftovers
from fcnjax.io.regular_files import write_error_reason


def test_reason_is_found_in_messages_of_native_libraries():
    rust = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert write_error_reason(rust) == "No space left on device"
    assert write_error_reason(OSError(errno.EDQUOT, "Disk quota exceeded")) == "Disk quota exceeded"
    assert write_error_reason(ValueError("shape (3, 4)")) is None


def test_failed_native_writer_keeps_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    words = "safetensors: cannot be written: Read-only file system"
    with pytest.raises(UserError, match=words), atomic(path):
        raise RuntimeError(f"write() failed: {os.strerror(errno.EROFS)}; at byte 4")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"
    with pytest.raises(ValueError, match="a bug"), atomic(path):
        raise ValueError("a bug")


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    path = tmp_path / "config.json"
    dead = tmp_path / ".config-abcd1234.json"
    other = tmp_path / ".settings-abcd1234.json"
    for file in (dead, other):
        file.write_text("half")
    with atomic(path) as temporary:
        temporary.write_text("new")
        remove_leftovers([path])
        assert not dead.exists()
    assert path.read_text() == "new"
    assert other.exists()
