"""Reading of files by path or URI.

Local files are read as files. Other schemes are pyarrow's (`s3://`, `gs://`, `hdfs://`) or else
fsspec's (`https://`, `zip://`, ...). Both find credentials by themselves.
"""

import functools
import importlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fcnjax.data.readers.decode import Encoded, File
from fcnjax.errors import UserError


def is_uri(source: str) -> bool:
    """Return whether a source is a URI of something other than a local file."""
    return "://" in source and not source.startswith("file://")


def local_path(source: str) -> Path:
    """Return the path of a local source: a path, or `file:///path`."""
    return Path(unquote(urlsplit(source).path) if source.startswith("file://") else source)


def as_file(source: str, content: bytes | None = None) -> File:
    """Return an image file to read, from `content` if given, else from `source`.

    Raises:
        UserError: A URI cannot be read.
    """
    if content is None and not is_uri(source):
        return local_path(source)
    return Encoded(read_bytes(source) if content is None else content, source, source)


def read_bytes(source: str) -> bytes:
    """Return the content of a file.

    Args:
        source: Path or URI.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        if not is_uri(source):
            return local_path(source).read_bytes()
        system, path = filesystem(source)
        with system.open_input_stream(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file") from error
    # File systems raise errors of their own types, network errors included.
    except Exception as error:
        raise read_error(source, error) from error


def read_error(source: object, error: Exception) -> UserError:
    """Return the error for a source that a library could not read, with its first line."""
    if isinstance(error, UserError):
        return error
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return UserError(f"{source}: cannot be read: {reason or type(error).__name__}")


def filesystem(source: str) -> tuple[Any, str]:
    """Return the pyarrow file system of a path or URI, and the path in it.

    Raises:
        UserError: pyarrow is missing, or neither it nor fsspec can open the URI.
    """
    fs = import_pyarrow("fs", source)
    if not is_uri(source):
        return fs.LocalFileSystem(), str(local_path(source).absolute())
    scheme, _, rest = source.partition("://")
    rest, _, query = rest.partition("?")
    host, _, path = rest.partition("/")
    # Only fsspec opens a chained URI, such as zip://a.png::s3://bucket/b.zip.
    opened = None if "::" in source else _pyarrow_filesystem(scheme, host, query)
    if opened is not None:
        system, base = opened
        return system, f"{base}/{path}" if path else base
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(source)
    except Exception as error:
        raise read_error(source, error) from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


@functools.lru_cache(maxsize=64)
def _pyarrow_filesystem(scheme: str, host: str, query: str) -> tuple[Any, str] | None:
    # Cached, since each file system is a client with connections. The path is left out of the URI,
    # since an object's key need not be escaped.
    import pyarrow
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(f"{scheme}://{host}" + (f"?{query}" if query else ""))
    except (pyarrow.ArrowException, OSError):
        return None


def import_pyarrow(name: str, source: str) -> Any:
    """Import the module `pyarrow.NAME`.

    Raises:
        UserError: pyarrow, which reading `source` needs, is not installed.
    """
    try:
        return importlib.import_module(f"pyarrow.{name}")
    except ImportError as error:
        raise UserError(f"{source}: reading it needs pyarrow: pip install 'fcnjax[ray]'") from error
