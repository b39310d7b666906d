"""JAX's compilation cache: shared, truncated or not writable."""

import os
import zlib

import pytest
from jax._src.lru_cache import LRUCache

from fcnjax.runtime.compile_cache import prepare_compile_cache, repair, warn_in_one_line

ENTRY = zlib.compress(b"program" * 100)


def test_cache_shared_with_a_program_without_a_limit_is_written_again(tmp_path):
    LRUCache(str(tmp_path), max_size=-1).put("theirs", ENTRY)
    ours = LRUCache(str(tmp_path), max_size=10_000)
    with pytest.raises(FileNotFoundError):  # of which JAX makes a warning
        ours.put("mine", ENTRY)
    repair(tmp_path)
    ours.put("mine", ENTRY)
    assert ours.get("theirs") == ours.get("mine") == ENTRY


def test_truncated_entry_is_removed_and_intact_one_kept(tmp_path):
    cache = LRUCache(str(tmp_path), max_size=10_000)
    for key in ("whole", "cut"):
        cache.put(key, ENTRY)
    (tmp_path / "cut-cache").write_bytes(ENTRY[:10])
    (tmp_path / "cut-atime").unlink()
    repair(tmp_path)
    assert cache.get("cut") is None
    assert cache.get("whole") == ENTRY


def test_users_folder_has_the_users_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path))
    environ = {}
    prepare_compile_cache(environ)
    assert environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "compiled")
    assert int(environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == 4 * 2**30
    assert float(environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]) == 0.1
    environ = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "shared")}
    prepare_compile_cache(environ)
    assert environ == {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "shared")}


def test_folder_without_permission_is_used_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    environ = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    prepare_compile_cache(environ)
    assert environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == "-1"  # else reading takes a lock
    assert int(environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"]) > 2**60


def test_warning_of_the_cache_is_one_line(monkeypatch, capsys):
    import warnings

    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: print(message))
    warn_in_one_line()
    for _ in range(2):
        text = "Error writing persistent compilation cache entry for 'jit_f': OSError: full"
        warnings.showwarning(text, UserWarning, "compiler.py", 1)
    warnings.showwarning("another", UserWarning, "x.py", 1)
    out, err = capsys.readouterr()
    assert out == "another\n"
    assert err.count("\n") == 1
    assert "jit_f" in err
