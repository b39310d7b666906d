"""Files by path or URI.

Local files are read as files. Every other scheme is pyarrow's (`s3://`, `gs://`, `hdfs://`) or,
where pyarrow has none, fsspec's (`https://`, `zip://`, ...); they find credentials by themselves.
"""

import functools
import importlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fcnjax.data.readers.decode import Encoded, File
from fcnjax.errors import UserError


def is_uri(source: str) -> bool:
    """Whether a source is a URI of something other than a local file."""
    return "://" in source and not source.startswith("file://")


def local_path(source: str) -> Path:
    """The path of a source that is no `is_uri`: a path, or `file:///path`."""
    return Path(unquote(urlsplit(source).path) if source.startswith("file://") else source)


def as_file(source: str, content: bytes | None = None) -> File:
    """An image file to read: of `content` where that is known, else of what `source` names.

    Raises:
        UserError: A URI cannot be read; names it.
    """
    if content is None and not is_uri(source):
        return local_path(source)
    return Encoded(read_bytes(source) if content is None else content, source, source)


def read_bytes(source: str) -> bytes:
    """The content of a file.

    Args:
        source: A path or a URI.

    Raises:
        UserError: It cannot be read; names it.
    """
    try:
        if not is_uri(source):
            return local_path(source).read_bytes()
        system, path = filesystem(source)
        with system.open_input_stream(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file") from error
    # Each file system has errors of its own kinds, the network's too.
    except Exception as error:
        raise unreadable(source, error) from error


def unreadable(source: object, error: Exception) -> UserError:
    """The error for a source that a library could not read; the first line of what it says."""
    if isinstance(error, UserError):
        return error
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return UserError(f"{source}: cannot be read: {reason or type(error).__name__}")


def filesystem(source: str) -> tuple[Any, str]:
    """A pyarrow file system, and the path in it, of a path or a URI.

    Raises:
        UserError: pyarrow is missing, or neither it nor fsspec can open such a URI.
    """
    fs = pyarrow_part("fs", source)
    if not is_uri(source):
        return fs.LocalFileSystem(), str(local_path(source).absolute())
    scheme, _, rest = source.partition("://")
    rest, _, query = rest.partition("?")
    host, _, path = rest.partition("/")
    # A chained URI, as zip://a.png::s3://bucket/b.zip, is fsspec's.
    known = None if "::" in source else _by_pyarrow(scheme, host, query)
    if known is not None:
        system, base = known
        return system, f"{base}/{path}" if path else base
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(source)
    except Exception as error:
        raise unreadable(source, error) from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


@functools.lru_cache(maxsize=64)
def _by_pyarrow(scheme: str, host: str, query: str) -> tuple[Any, str] | None:
    # Kept, since each is a client with connections. Of the host alone: a key need not be escaped.
    import pyarrow
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(f"{scheme}://{host}" + (f"?{query}" if query else ""))
    except (pyarrow.ArrowException, OSError):
        return None


def pyarrow_part(name: str, source: str) -> Any:
    """The module `pyarrow.NAME`.

    Raises:
        UserError: pyarrow is not installed; names `source`, which needs it, and the extra.
    """
    try:
        return importlib.import_module(f"pyarrow.{name}")
    except ImportError as error:
        raise UserError(f"{source}: reading it needs pyarrow: pip install 'fcnjax[ray]'") from error
