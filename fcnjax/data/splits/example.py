"""Identity of examples: the names, files and contents by which a later run finds them again."""

import errno
import functools
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Box = tuple[tuple[int, int], ...]

PIECE = 4096  # bytes that are read at one place of a large file
THREADS = 16  # for reading: over a network, most of the time is spent waiting


class Example(NamedTuple):
    """An example of a source.

    Attributes:
        names: Names of its files, relative to the root of the dataset; the image's first.
        files: The files from which it is read; the image's first.
        box: Start and stop along each axis of the part of the image file; () is all of it. A
            record has one axis, its row.
        digest: Hash of its annotations, if they share a file with those of others.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    box: Box = ()
    digest: str = ""

    @property
    def title(self) -> str:
        """The image's name, with the part of it: `images/a.tif[0:512, 512:1024]`."""
        if len(self.box) < 2:  # the row of a record is in its name
            return self.names[0]
        return f"{self.names[0]}[{', '.join(f'{start}:{stop}' for start, stop in self.box)}]"


class FileRecord(NamedTuple):
    """The identity of a file; a missing file has the size -1.

    Attributes:
        size: Size in bytes.
        mtime_ns: Time of the last change.
        digest: `fingerprint` of its contents; "" if they were not read.
    """

    size: int
    mtime_ns: int
    digest: str = ""


def example_of(root: Path, files: Iterable[Path], box: Box = (), digest: str = "") -> Example:
    """Return an example of files, named relative to `root` if they lie in it."""
    files, start = tuple(files), f"{root}/"
    return Example(tuple(str(file).removeprefix(start) for file in files), files, box, digest)


def content_digest(*values: Any) -> str:
    """Return a hash of the annotations of an example, equal in every process.

    Args:
        values: Numbers, texts and arrays, and tuples, lists and dictionaries of them. A
            `functools.partial` counts by its arguments and its function's name.
    """
    digest = hashlib.sha256()
    for part in _flat(values):
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()[:16]


def _flat(value: Any) -> Iterator[bytes]:
    """Yield the parts of nested values, with the type and length of each collection."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, dict):
        yield from _flat(sorted(value.items()))
    elif isinstance(value, list | tuple):
        yield f"{len(value)} items".encode()
        for item in value:
            yield from _flat(item)
    elif isinstance(value, functools.partial):
        yield value.func.__qualname__.encode()
        yield from _flat([value.args, value.keywords])
    elif isinstance(value, str | bytes | int | float | np.generic | None):
        yield repr(value).encode()
    else:
        raise TypeError(f"no digest of {type(value).__name__}")


def hashed_bytes(files: int, total: int = 2**29) -> int:
    """Return how many bytes to hash of each of `files` files, for about `total` bytes of all.

    A run must not read 100 GB before its first step. Files up to this size are hashed completely,
    larger ones at evenly spaced pieces.
    """
    return max(total // max(files, 1), PIECE)


def fingerprint(path: Path, limit: int) -> str:
    """Return the SHA-256 of a file's size and contents, reading at most about `limit` bytes.

    The end of the file is always read: PNG and gzip keep a checksum of all data there.

    Args:
        path: A file; or a folder, whose files are hashed one after the other.
        limit: Bytes; of a larger file, evenly spaced pieces of `PIECE` bytes are read.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                digest.update(f"{file.relative_to(path)} {fingerprint(file, limit)}\n".encode())
        return digest.hexdigest()
    if not path.is_file():  # a FIFO would block, and a device never end
        raise FileNotFoundError(errno.ENOENT, "not a regular file", str(path))
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        if size <= limit:
            digest.update(file.read())
        else:
            pieces, last = max(limit // PIECE, 1), max(size - PIECE, 0)
            for piece in range(pieces):
                file.seek(last - last * piece // max(pieces - 1, 1))
                digest.update(file.read(PIECE))
    return digest.hexdigest()


def file_record(path: Path, limit: int | None = None) -> FileRecord:
    """Return a file's record, with its contents hashed if a `limit` in bytes is given."""
    try:
        status = path.stat()
        digest = "" if limit is None else fingerprint(path, limit)
    except OSError:
        return FileRecord(-1, -1)
    return FileRecord(status.st_size, status.st_mtime_ns, digest)


def file_records(paths: Iterable[Path], limit: int | None = None) -> dict[Path, FileRecord]:
    """Return the records of files, which are read in parallel."""
    paths = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(paths, pool.map(lambda path: file_record(path, limit), paths), strict=True))
