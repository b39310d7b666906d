"""The folder in which JAX keeps compiled programs, made usable before JAX opens it.

JAX's cache with a size limit keeps `KEY-atime`, the time of the last use, beside each `KEY-cache`.
Without that file of any one entry, it writes no entry any more. The file is missing where a program
without a limit shares the folder, and where a process was killed while it wrote an entry, which is
then cut off as well.
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

LIMIT = 4 * 2**30  # bytes of compiled programs; the least used make room
_ZSTD = b"\x28\xb5\x2f\xfd"
_NOTHING = str(2**62)  # no program has so many bytes


def prepare_compile_cache(environ: MutableMapping[str, str]) -> None:
    """Keeps compiled programs in the user's cache folder, for the next start to be quick.

    What the user has set stands: in a folder of theirs, the limit is theirs too.

    Args:
        environ: The environment variables, which JAX reads when it is imported.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in environ:
        environ["JAX_COMPILATION_CACHE_DIR"] = str(cache_dir() / "compiled")
        environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(LIMIT))
    folder = environ["JAX_COMPILATION_CACHE_DIR"]
    if not folder or "://" in folder:
        return
    if Path(folder).is_dir() and not os.access(folder, os.W_OK):
        # With a limit, reading writes too.
        environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = "-1"
        environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = _NOTHING
    elif environ.get("JAX_COMPILATION_CACHE_MAX_SIZE", "-1") != "-1":
        repair(Path(folder))


def repair(folder: Path) -> None:
    """Writes the missing times of use; an entry without one that is cut off is removed."""
    with contextlib.suppress(OSError):  # not there yet, or another process is quicker
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
    # A decoder may raise whatever it likes; its module may be missing.
    with contextlib.suppress(Exception):
        if content.startswith(_ZSTD):
            import imagecodecs

            return bool(imagecodecs.zstd_decode(content))
        return bool(zlib.decompress(content))
    return False


def warn_in_one_line() -> None:
    """Prints JAX's warnings on its cache, such as of a full disk, in one line and only once."""
    show, shown = warnings.showwarning, []

    def show_warning(message: Warning | str, *args: Any, **options: Any) -> None:
        if "persistent compilation cache" not in str(message):
            show(message, *args, **options)
        elif not shown:
            shown.append(message)
            line = " ".join(str(message).split())[:300]
            print(f"fcnjax: {line}; the program is compiled anew", file=sys.stderr)

    warnings.showwarning = show_warning
