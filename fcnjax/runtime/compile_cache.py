"""The folder of JAX's persistent compilation cache, repaired before JAX opens it.

With a size limit, JAX's cache writes `KEY-atime`, the time of the last use, beside each
`KEY-cache`. If this file is missing for any entry, JAX writes no further entries. It is missing if
a program without a limit shares the folder, or if a process was killed while it wrote an entry,
which is then truncated as well.
"""

import contextlib
import os
import sys
import warnings
import zlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fcnjax.io.atomic_files import cache_dir

MAX_BYTES = 4 * 2**30  # of compiled programs; the least recently used are removed
MIN_COMPILE_S = 0.1  # of programs that are kept; JAX's second leaves out those of a small model
_ZSTD = b"\x28\xb5\x2f\xfd"
_NO_ENTRY = str(2**62)  # bytes; no program is as large


def prepare_compile_cache(environ: MutableMapping[str, str]) -> None:
    """Make JAX keep compiled programs in the user's cache folder.

    Settings of the user take precedence. For a folder that the user chose, neither a limit nor the
    least time of compilation is set.

    Args:
        environ: The environment variables, which JAX reads when it is imported.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in environ:
        environ["JAX_COMPILATION_CACHE_DIR"] = str(cache_dir() / "compiled")
        environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MAX_BYTES))
        environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(MIN_COMPILE_S))
    folder = environ["JAX_COMPILATION_CACHE_DIR"]
    if not folder or "://" in folder:
        return
    if Path(folder).is_dir() and not os.access(folder, os.W_OK):
        # With a limit, JAX writes even when it reads.
        environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = "-1"
        environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = _NO_ENTRY
    elif environ.get("JAX_COMPILATION_CACHE_MAX_SIZE", "-1") != "-1":
        repair(Path(folder))


def repair(folder: Path) -> None:
    """Write missing times of use; remove truncated entries that have none."""
    with contextlib.suppress(OSError):  # missing, or repaired by another process
        names = {entry.name for entry in os.scandir(folder)}
        for name in names:
            key = name.removesuffix("-cache")
            if key == name or f"{key}-atime" in names:
                continue
            entry = folder / name
            if _is_complete(entry):
                used = entry.stat().st_mtime_ns
                (folder / f"{key}-atime").write_bytes(used.to_bytes(8, "little"))
            else:
                entry.unlink(missing_ok=True)


def _is_complete(entry: Path) -> bool:
    """Return whether an entry can be decompressed."""
    content = entry.read_bytes()
    # Decoders raise various exceptions, and a module may be missing.
    with contextlib.suppress(Exception):
        if content.startswith(_ZSTD):
            import imagecodecs

            return bool(imagecodecs.zstd_decode(content))
        return bool(zlib.decompress(content))
    return False


def warn_in_one_line() -> None:
    """Print JAX's warnings about its cache, such as a full disk, in one line and only once."""
    show, shown = warnings.showwarning, []

    def show_warning(message: Warning | str, *args: Any, **options: Any) -> None:
        if "persistent compilation cache" not in str(message):
            show(message, *args, **options)
        elif not shown:
            shown.append(message)
            line = " ".join(str(message).split())[:300]
            print(f"fcnjax: {line}; the program is compiled again", file=sys.stderr)

    warnings.showwarning = show_warning
