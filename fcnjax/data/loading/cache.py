"""Caches of decoded examples: in memory, or in ArrayRecord files on disk.

A set on disk has a folder whose name is a hash of the data it was made from: other files, another
encoding or other classes give another folder. It is written in shards, each atomically, so that an
interrupted build continues with the missing shards.
"""

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import Scope, flatten, keys_with
from fcnjax.data.loading import tiles
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.source import Source, SourceWrapper, StoredSource
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic, cache_dir, sha256, write_json
from fcnjax.io.json_files import field, parse_json, read_json
from fcnjax.io.lock_file import locked
from fcnjax.runtime.packages import to_stderr

PER_SHARD = 128  # examples
THREADS = 4  # that decode
INDEX = "index.json"
FORMAT = 2
MAX_BANDS = 4096  # of an image


class MemoryCache(SourceWrapper):
    """A source that keeps its examples in memory once they were read."""

    def __init__(self, source: Source):
        super().__init__(source)
        self._examples: dict[int, dict[str, Any]] = {}

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index not in self._examples:
            self._examples[index] = self._source[index]
        return self._examples[index]


class ShardCache:
    """A source of decoded examples in the ArrayRecord files that `build_cache` writes.

    Args:
        folder: The folder of the files.

    Raises:
        UserError: The folder is incomplete or damaged.
    """

    def __init__(self, folder: Path):
        index = _read_index(folder / INDEX, ("class_names", "sizes", "firsts"))
        if index.get("format") != FORMAT:
            raise UserError(f"{folder}: was written by another version of fcnjax; remove it")
        self.class_names = tuple(index["class_names"])
        self._folder = folder
        self._sizes = index["sizes"]
        self._firsts = index["firsts"]
        self._readers: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}}

    @property
    def failed(self) -> list[str]:
        """The errors of the examples that could not be read when the cache was built."""
        return [size for size in self._sizes if isinstance(size, str)]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example.

        Raises:
            UserError: The example could not be read when the cache was built.
        """
        size = self._sizes[index]
        if isinstance(size, str):
            raise UserError(size)
        return tuple(size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read an example whose image and label are `TiledArray`s."""
        self.size(index)  # raises the error of an unreadable example
        where = f"{shard_path(self._folder, index // PER_SHARD)}: example {index}"
        line = self._read(index, [0])[0].decode("utf-8", "replace")
        header, start = parse_json(line, where), 1
        example = {"name": field(header, "name", str, where)}
        for key in ("image", "label"):
            dtype, shape = self._parse_array(index, field(header, key, list, where), where)
            read = functools.partial(self._read, index, start=start)
            example[key] = tiles.TiledArray(read, dtype, shape)
            start += tiles.tile_count(dtype, shape)
        return example

    def _parse_array(self, index: int, entry: list[Any], where: str) -> tuple[np.dtype, list[int]]:
        """Parse the type and shape of an array in a header; check them against the index."""
        dtype, shape = entry if len(entry) == 2 else (None, None)
        is_array = _DTYPE.fullmatch(str(dtype)) and isinstance(shape, list) and len(shape) in (2, 3)
        if not is_array or shape[:2] != self._sizes[index] or not _are_ints(shape[2:], MAX_BANDS):
            raise UserError(f"{where}: is damaged; remove the folder")
        return np.dtype(dtype), shape

    def _read(self, index: int, numbers: list[int], start: int = 0) -> Sequence[bytes]:
        """Read records of an example by their numbers, counted from `start`."""
        shard, first = index // PER_SHARD, start + self._firsts[index]
        path = shard_path(self._folder, shard)
        try:
            if shard not in self._readers:
                self._readers[shard] = _reader(path)
            return self._readers[shard].read([first + number for number in numbers])
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise UserError(
                f"{path}: is damaged: {str(error).splitlines()[0]}; "
                f"remove it, and `fcnjax data build` writes it again"
            ) from error


def _reader(path: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(str(path), "readahead_buffer_size:0")


def shard_path(folder: Path, shard: int) -> Path:
    """Return the file of a shard."""
    return folder / f"shard-{shard:05}.arrayrecord"


def encode_records(example: dict[str, Any]) -> list[bytes]:
    """Encode an example as records: a JSON header, the tiles of the image and of the label."""
    arrays = {key: np.asarray(example[key]) for key in ("image", "label")}
    header = {key: [array.dtype.str, list(array.shape)] for key, array in arrays.items()}
    line = json.dumps({"name": example["name"], **header}).encode()
    return [line, *itertools.chain.from_iterable(map(tiles.split_tiles, arrays.values()))]


def cache_folder(config: ConfigDict, part: str, source: StoredSource) -> Path:
    """Return the cache folder of a split, named by a hash of all that its examples depend on."""
    unused = keys_with(Scope.NOT_DECODED)
    relevant = {key: v for key, v in flatten(config.data).items() if f"data.{key}" not in unused}
    text = json.dumps([FORMAT, part, relevant, len(source), source.stamps()], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_dir() / "decoded" / f"{config.data.source}-{part}-{digest}"


def build_cache(
    source: Source,
    folder: Path,
    *,
    verify: bool = False,
    skip: bool = False,
    show: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> ShardCache:
    """Decode every example once into a folder of shards, and open them.

    Complete shards are kept, so that an interrupted build continues. If two processes build the
    same folder, the second waits.

    Args:
        source: The examples.
        folder: The output folder.
        verify: Whether existing shards are compared with their hashes. Shards that differ, and
            those with an unreadable example, are written again.
        skip: Whether an unreadable example is stored as its error message, which is raised when
            the example is read. If not, it stops the build.
        show: Whether a progress bar is shown.
        log: Takes a line about the progress.

    Raises:
        UserError: An example cannot be read, or a file cannot be written.
    """
    if (folder / INDEX).is_file() and not verify:
        return ShardCache(folder)
    from rich.progress import Progress  # not imported where nothing is decoded

    read = functools.partial(_read_or_error, source) if skip else source.__getitem__
    with locked(folder):
        folder.mkdir(exist_ok=True)
        starts = range(0, len(source), PER_SHARD)
        missing = [i for i in range(len(starts)) if not _is_complete(folder, i, verify)]
        if missing:
            log(f"decoding {len(source)} images into {folder}")
        parts = [range(starts[i], min(starts[i] + PER_SHARD, len(source))) for i in missing]
        with (
            ThreadPoolExecutor(THREADS) as pool,
            Progress(disable=not (show and missing), transient=True) as progress,
        ):
            bar = progress.add_task("decode", total=sum(map(len, parts)))
            for shard, part in zip(missing, parts, strict=True):
                examples = pool.map(read, part)
                _write_shard(folder, shard, examples, lambda: progress.advance(bar))
        sidecars = [_read_sidecar(folder, i) for i in range(len(starts))]
        index = {"format": FORMAT, "class_names": list(source.class_names)}
        for key in ("sizes", "firsts"):
            index[key] = [value for sidecar in sidecars for value in sidecar[key]]
        write_json(folder / INDEX, index)
    return ShardCache(folder)


def _read_sidecar(folder: Path, shard: int) -> dict[str, Any]:
    path = shard_path(folder, shard).with_suffix(".json")
    return _read_index(path, ("sizes", "firsts", "sha256"))


def _read_index(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Read the index of a cache, or the JSON file beside a shard.

    Raises:
        UserError: It is missing or damaged.
    """
    content = read_json(path)
    for key in keys:
        if not _FIELDS[key](field(content, key, (list, str), str(path))):
            raise UserError(f"{path}: is damaged: {key!r}; remove the folder")
    if len(content["sizes"]) != len(content["firsts"]):
        raise UserError(f"{path}: is damaged: 'sizes' and 'firsts' differ; remove the folder")
    return content


def _are_ints(values: Sequence[Any], maximum: int) -> bool:
    return all(type(value) is int and 0 <= value <= maximum for value in values)


def _is_size(value: Any) -> bool:
    """Return whether a value is an example's height and width, or its error message."""
    is_pair = isinstance(value, list) and len(value) == 2 and _are_ints(value, 2**31)
    return is_pair or isinstance(value, str)


_DTYPE = re.compile("[<>|=][biuf][1248]")
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "class_names": lambda names: all(isinstance(name, str) for name in names),
    "sizes": lambda sizes: isinstance(sizes, list) and all(map(_is_size, sizes)),
    "firsts": lambda firsts: isinstance(firsts, list) and _are_ints(firsts, 2**48),
    "sha256": lambda digest: isinstance(digest, str),
}


def _is_complete(folder: Path, shard: int, verify: bool) -> bool:
    path = shard_path(folder, shard)
    try:
        sidecar = _read_sidecar(folder, shard)
    except UserError:
        return False
    if not path.is_file() or not verify:
        return path.is_file()
    failed = any(isinstance(size, str) for size in sidecar["sizes"])
    return not failed and sidecar["sha256"] == sha256(path)


def _read_or_error(source: Source, row: int) -> dict[str, Any] | str:
    try:
        return source[row]
    except UserError as error:
        return str(error)


def _write_shard(
    folder: Path, shard: int, examples: Iterable[dict[str, Any] | str], advance: Callable[[], None]
) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    sizes, firsts, count = [], [], 0
    shard_file = shard_path(folder, shard)
    with atomic(shard_file) as path:
        # Groups of one record, since each is read alone. Uncompressed, since compression halves
        # the size but doubles the time to read.
        writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
        for example in examples:
            failed = isinstance(example, str)  # the example's error message
            records = [example.encode()] if failed else encode_records(example)
            for record in records:
                writer.write(record)
            sizes.append(example if failed else list(example["label"].shape))
            firsts.append(count)
            count += len(records)
            advance()
        writer.close()
        digest = sha256(path)
    sidecar = {"sha256": digest, "sizes": sizes, "firsts": firsts}
    write_json(shard_file.with_suffix(".json"), sidecar)


def open_cached(config: ConfigDict, part: str, source: StoredSource) -> Source:
    """Wrap a source in its cache, `config.data.loading.cache`; training handles `device`."""
    if config.data.loading.cache == "host":
        return MemoryCache(source)
    if config.data.loading.cache == "disk":
        folder = cache_folder(config, part, source)
        return build_cache(source, folder, skip=skips_unreadable(config.data), log=to_stderr)
    return source
