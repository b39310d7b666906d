"""Decoded examples kept for the next time: in memory, or in ArrayRecord files.

A set on disk lies in a folder of the cache, named by the data it was made of: other files, another
encoding or other classes make another. It is written shard by shard, each whole or absent, so that
a build that was stopped goes on where it stopped.
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
from rich.progress import Progress

from fcnjax.config import Scope, flatten, keys_with
from fcnjax.data.loading import stored_tiles as tiles
from fcnjax.data.loading.skipping import skips
from fcnjax.data.source import Source, StoredSource
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic, cache_dir, sha256, write_json
from fcnjax.io.json_files import field, parse_json, read_json
from fcnjax.io.lock_file import locked

PER_SHARD = 128  # examples
THREADS = 4  # that decode
INDEX = "index.json"
FORMAT = 2
MOST_BANDS = 4096  # of an image


class InMemory:
    """A source whose examples are kept once they were read."""

    def __init__(self, source: Source):
        self.class_names = source.class_names
        self._source = source
        self._kept: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example."""
        return self._source.size(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index not in self._kept:
            self._kept[index] = self._source[index]
        return self._kept[index]


class Shards:
    """A source of decoded examples in ArrayRecord files, which `build` wrote.

    Args:
        folder: Of the files.

    Raises:
        UserError: It is not whole.
    """

    def __init__(self, folder: Path):
        index = _checked(folder / INDEX, ("class_names", "sizes", "firsts"))
        if index.get("format") != FORMAT:
            raise UserError(f"{folder}: is of another version of fcnjax; remove it")
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
        """The errors of the examples that could not be read when the files were built."""
        return [size for size in self._sizes if isinstance(size, str)]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example.

        Raises:
            UserError: It could not be read when the files were built.
        """
        size = self._sizes[index]
        if isinstance(size, str):
            raise UserError(size)
        return tuple(size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """An example whose image and label are read as far as they are asked for."""
        self.size(index)
        where = f"{shard_path(self._folder, index // PER_SHARD)}: example {index}"
        line = self._read(index, [0])[0].decode("utf-8", "replace")
        header, start = parse_json(line, where), 1
        example = {"name": field(header, "name", str, where)}
        for key in ("image", "label"):
            dtype, shape = self._array(index, field(header, key, list, where), where)
            read = functools.partial(self._read, index, start=start)
            example[key] = tiles.Tiled(read, dtype, shape)
            start += tiles.count(dtype, shape)
        return example

    def _array(self, index: int, entry: list[Any], where: str) -> tuple[np.dtype, list[int]]:
        """The type and shape of an array, as a header has them, of the height and width known."""
        text, shape = entry if len(entry) == 2 else (None, None)
        is_array = (
            _NUMBERS.fullmatch(str(text)) and isinstance(shape, list) and len(shape) in (2, 3)
        )
        if not is_array or shape[:2] != self._sizes[index] or not _are_whole(shape[2:], MOST_BANDS):
            raise UserError(f"{where}: is damaged; remove the folder")
        return np.dtype(text), shape

    def _read(self, index: int, places: list[int], start: int = 0) -> Sequence[bytes]:
        """Records of an example."""
        shard, first = index // PER_SHARD, start + self._firsts[index]
        path = shard_path(self._folder, shard)
        try:
            if shard not in self._readers:
                self._readers[shard] = _reader(path)
            return self._readers[shard].read([first + place for place in places])
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise UserError(
                f"{path}: is damaged: {str(error).splitlines()[0]}; "
                f"remove it, and `fcnjax data build` makes it anew"
            ) from error


def _reader(path: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(str(path), "readahead_buffer_size:0")


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{shard:05}.arrayrecord"


def records_of(example: dict[str, Any]) -> list[bytes]:
    """An example as records: a line of JSON, the tiles of the image, and those of the label."""
    arrays = {key: np.asarray(example[key]) for key in ("image", "label")}
    header = {key: [array.dtype.str, list(array.shape)] for key, array in arrays.items()}
    line = json.dumps({"name": example["name"], **header}).encode()
    return [line, *itertools.chain.from_iterable(map(tiles.cut, arrays.values()))]


def folder_of(config: ConfigDict, part: str, source: StoredSource) -> Path:
    """Where the examples of a split are kept, by all that they are made of."""
    unused = keys_with(Scope.NOT_DECODED)
    made_of = {key: v for key, v in flatten(config.data).items() if f"data.{key}" not in unused}
    text = json.dumps([FORMAT, part, made_of, len(source), source.stamps()], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_dir() / "decoded" / f"{config.data.source}-{part}-{digest}"


def build(
    source: Source,
    folder: Path,
    *,
    verify: bool = False,
    skip: bool = False,
    show: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> Shards:
    """Decodes every example once, into a folder of shards, and opens them.

    Shards that are there already stay; a build that was stopped goes on. Two processes may build
    at once; the second waits.

    Args:
        source: The examples.
        folder: Where to.
        verify: Whether shards that are there are read again and compared with their hashes; those
            that differ are made anew, and those with an example that could not be read.
        skip: Whether an example that cannot be read is kept as its error, which the shards then
            raise, and does not end the build.
        show: Whether a progress bar is shown.
        log: Takes a line on what is being done.

    Raises:
        UserError: An example cannot be read, or a file cannot be written.
    """
    read = functools.partial(_or_error, source) if skip else source.__getitem__
    if (folder / INDEX).is_file() and not verify:
        return Shards(folder)
    with locked(folder):
        folder.mkdir(exist_ok=True)
        starts = range(0, len(source), PER_SHARD)
        missing = [i for i in range(len(starts)) if not _is_whole(folder, i, verify)]
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
    return Shards(folder)


def _sidecar(folder: Path, shard: int) -> Path:
    return shard_path(folder, shard).with_suffix(".json")


def _read_sidecar(folder: Path, shard: int) -> dict[str, Any]:
    return _checked(_sidecar(folder, shard), ("sizes", "firsts", "sha256"))


def _checked(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Reads an index or a sidecar.

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


def _are_whole(values: Sequence[Any], most: int) -> bool:
    return all(type(value) is int and 0 <= value <= most for value in values)


def _is_size(value: Any) -> bool:
    """Return whether this is the height and width of an example, or the error that it gave."""
    is_pair = isinstance(value, list) and len(value) == 2 and _are_whole(value, 2**31)
    return is_pair or isinstance(value, str)


_NUMBERS = re.compile("[<>|=][biuf][1248]")
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "class_names": lambda names: all(isinstance(name, str) for name in names),
    "sizes": lambda sizes: isinstance(sizes, list) and all(map(_is_size, sizes)),
    "firsts": lambda firsts: isinstance(firsts, list) and _are_whole(firsts, 2**48),
    "sha256": lambda digest: isinstance(digest, str),
}


def _is_whole(folder: Path, shard: int, verify: bool) -> bool:
    path, sidecar = shard_path(folder, shard), _sidecar(folder, shard)
    if not (path.is_file() and sidecar.is_file()):
        return False
    try:
        known = _read_sidecar(folder, shard)
    except UserError:
        return False
    if not verify:
        return True
    failed = any(isinstance(size, str) for size in known["sizes"])
    return not failed and known["sha256"] == sha256(path)


def _or_error(source: Source, row: int) -> dict[str, Any] | str:
    try:
        return source[row]
    except UserError as error:
        return str(error)


def _write_shard(
    folder: Path, shard: int, examples: Iterable[dict[str, Any] | str], done: Callable[[], None]
) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    sizes, firsts, count = [], [], 0
    with atomic(shard_path(folder, shard)) as path:
        # One record a group: each is read alone. Uncompressed: half the size takes twice the time.
        writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
        for example in examples:
            failed = isinstance(example, str)  # its error, in a place of its own
            records = [example.encode()] if failed else records_of(example)
            for record in records:
                writer.write(record)
            sizes.append(example if failed else list(example["label"].shape))
            firsts.append(count)
            count += len(records)
            done()
        writer.close()
        digest = sha256(path)
    write_json(_sidecar(folder, shard), {"sha256": digest, "sizes": sizes, "firsts": firsts})


def cached(
    config: ConfigDict, part: str, source: StoredSource, log: Callable[[str], None]
) -> Source:
    """The source, kept by `config.data.loading.cache` (`device` is the training step's own)."""
    if config.data.loading.cache == "host":
        return InMemory(source)
    if config.data.loading.cache == "disk":
        folder = folder_of(config, part, source)
        return build(source, folder, skip=skips(config.data), log=log)
    return source
