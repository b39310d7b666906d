"""An index in a temporary file, from which data workers read it instead of parsing it again.

The file has no name, so that nothing remains of a killed training. Workers open it through the
descriptor of the process that made it, and map it: the regions are in memory once.
"""

import contextlib
import dataclasses
import functools
import mmap
import os
import pickle
import secrets
import stat
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_TOKEN_BYTES = 16
_LOCK = threading.Lock()


class Handle(NamedTuple):
    """The place of a shared index, to send to another process of this machine.

    Attributes:
        process: Id of the process that keeps the file open.
        descriptor: Descriptor of the file there.
        token: The first bytes of the file, since ids of ended processes are used again.
        header: Offset of everything but the regions.
    """

    process: int
    descriptor: int
    token: bytes
    header: int


class SharedIndex:
    """A copy of an index in a file without a name, open as long as this object exists.

    Args:
        index: An `Index`.

    Attributes:
        handle: The place of the file.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, index: Any):
        token = secrets.token_bytes(_TOKEN_BYTES)
        file = tempfile.TemporaryFile()  # noqa: SIM115, other processes open it later
        weakref.finalize(self, file.close)
        file.write(token)
        offsets = [_TOKEN_BYTES]
        for regions in index.regions:
            row = pickle.dumps(regions, pickle.HIGHEST_PROTOCOL)
            file.write(row)
            offsets.append(offsets[-1] + len(row))
        rest = dataclasses.replace(index, regions=())
        pickle.dump((rest, np.asarray(offsets)), file, pickle.HIGHEST_PROTOCOL)
        file.flush()
        self.handle = Handle(os.getpid(), file.fileno(), token, offsets[-1])


class _Regions(Sequence):
    """The regions of each image, unpickled when they are needed."""

    def __init__(self, content: mmap.mmap, offsets: np.ndarray):
        self._content, self._offsets = memoryview(content), offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> list:
        return pickle.loads(self._content[self._offsets[row] : self._offsets[row + 1]])


def open_shared(handle: Handle) -> Any | None:
    """Return the `Index` of a handle, opened once in a process; None if it no longer exists."""
    with _LOCK:  # several threads of a worker may call this together
        return _open(handle)


@functools.lru_cache(maxsize=4)
def _open(handle: Handle) -> Any | None:
    path = Path(f"/proc/{handle.process}/fd/{handle.descriptor}")
    with contextlib.suppress(OSError, ValueError):
        # A descriptor that was used again may be a pipe, whose opening would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if content[:_TOKEN_BYTES] == handle.token:
            index, offsets = pickle.loads(memoryview(content)[handle.header :])
            return dataclasses.replace(index, regions=_Regions(content, offsets))
    return None
