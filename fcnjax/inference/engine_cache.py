"""Cache of the converted programs of engines, each of which passed the check against XLA."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path

import jax
import numpy as np

import fcnjax
from fcnjax.errors import UserError
from fcnjax.export.program import ExportSource
from fcnjax.io.atomic_files import atomic, cache_dir, stamps

MAX_BYTES = 4 * 2**30  # of all programs; the least recently used are removed
_PACKAGES = ("jax", "jaxlib", "flax", "onnx")


def cache_path(source: ExportSource, engine: str) -> Path:
    """Return the file of a program, named by a hash of all that it and its check depend on.

    These are the weights, the config, the code of fcnjax, the versions of the packages, the engine
    and the CPU.
    """
    digest = hashlib.sha256()
    versions = [_version(name) for name in (*_PACKAGES, engine)]
    code = Path(fcnjax.__file__).parent
    text = [
        source.config.to_dict(),
        source.input_dtype,
        source.layout,
        [engine, *versions],
        _cpu(),
        stamps(sorted(code.rglob("*.py"))),
    ]
    digest.update(json.dumps(text, sort_keys=True, default=str).encode())
    for path, leaf in jax.tree.leaves_with_path(source.variables):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return _folder() / f"{digest.hexdigest()[:32]}.onnx"


def read_program(path: Path) -> tuple[bytes, int] | None:
    """Return a program and its least size, as `make_onnx`; None if missing or damaged."""
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        digest, size, program = content[:32], content[32:36], content[36:]
        if digest == hashlib.sha256(content[32:]).digest():
            path.touch()  # the time of the last use
            return program, int.from_bytes(size, "little")
    return None


def write_program(path: Path, program: bytes, least_size: int) -> None:
    """Write a program that passed the check; a cache that cannot be written is only read."""
    content = least_size.to_bytes(4, "little") + program
    with contextlib.suppress(UserError, OSError), atomic(path) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
    with contextlib.suppress(OSError):  # another process may remove them, too
        _remove_oldest()


def _remove_oldest() -> None:
    """Remove the least recently used programs beyond `MAX_BYTES`."""
    files = {path: path.stat() for path in _folder().glob("*.onnx")}
    total = 0
    for path in sorted(files, key=lambda path: files[path].st_mtime_ns, reverse=True):
        total += files[path].st_size
        if total > MAX_BYTES:
            path.unlink(missing_ok=True)


def _folder() -> Path:
    return cache_dir() / "engines"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # Some builds, such as onnxruntime-gpu, have another name.
        return importlib.metadata.version(importlib.metadata.packages_distributions()[package][0])


@functools.cache
def _cpu() -> list[str]:
    """Return the name and the instruction sets of the CPU."""
    lines = []
    with contextlib.suppress(OSError):  # Linux alone has the file
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        lines = text.partition("\n\n")[0].splitlines()
    names = ("model name", "flags", "Features", "CPU part")
    features = [line for line in lines if line.startswith(names)]
    return [platform.machine(), platform.processor(), *features]
