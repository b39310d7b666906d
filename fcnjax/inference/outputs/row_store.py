"""Finished rows of a large image on disk, from which a killed run resumes.

A hidden folder beside the outputs contains one file per layer, to which compressed rows are
appended, and a journal with a line per block of rows. The line has the block's checksum and is
written after its bytes. On resume, everything after the last undamaged block is truncated. The
folder is removed when the image is done.
"""

import contextlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.outputs.journal import parse_object
from fcnjax.io.atomic_files import write_json
from fcnjax.io.json_files import read_json
from fcnjax.io.lock_file import locked_folder
from fcnjax.io.regular_files import writing

PLAN, JOURNAL = "plan.json", "journal.jsonl"
MAX_PLAN_BYTES = 2**20
COMPRESSION_LEVEL = 1  # the fastest


@dataclass(frozen=True)
class Layer:
    """Values stored for each pixel.

    Attributes:
        dtype: NumPy's name of the type.
        bands: Number of values, or 0 for one value without an axis.
    """

    dtype: str
    bands: int = 0


class RowStore:
    """Finished rows of an image, opened with `open_row_store`.

    Attributes:
        rows: Number of finished rows.
        is_resumed: Whether an earlier run finished some of them.
    """

    def __init__(self, folder: Path, width: int, layers: Mapping[str, Layer]):
        self._folder, self._width, self._layers = folder, width, dict(layers)
        _refuse_links(folder, (*layers, JOURNAL))
        self._blocks = _read_journal(folder, self._layers)
        self.rows = self._blocks[-1]["stop"] if self._blocks else 0
        self.is_resumed = bool(self._blocks)
        ends = self._blocks[-1]["ends"] if self._blocks else dict.fromkeys(layers, 0)
        self._files = {}
        for name in layers:
            self._files[name] = (folder / name).open("ab")
            self._files[name].truncate(ends[name])
            # Otherwise tell() would return the position before the truncation.
            self._files[name].seek(ends[name])
        # Rewritten without a last line that was cut off.
        lines = "".join(json.dumps(block) + "\n" for block in self._blocks)
        (folder / JOURNAL).write_text(lines, encoding="utf-8")
        self._journal = (folder / JOURNAL).open("a", encoding="utf-8")

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Append rows: for each layer `[rows, W]` or `[rows, W, bands]`.

        Raises:
            UserError: The rows cannot be written.
        """
        with writing(self._folder):
            self._append(arrays)

    def _append(self, arrays: Mapping[str, np.ndarray]) -> None:
        (rows,) = {len(array) for array in arrays.values()}
        ends, checksums, stop = {}, {}, self.rows + rows
        for name, file in self._files.items():
            array = np.ascontiguousarray(arrays[name], self._layers[name].dtype)
            content = imagecodecs.zstd_encode(
                array.reshape(-1).view(np.uint8), level=COMPRESSION_LEVEL
            )
            file.write(content)
            ends[name] = file.tell()
            checksums[name] = zlib.crc32(content, _seed(self.rows, stop))
            _sync(file)
        block = {"start": self.rows, "stop": stop, "ends": ends, "crc32": checksums}
        self._journal.write(json.dumps(block) + "\n")
        _sync(self._journal)
        self._blocks.append(block)
        self.rows += rows

    def read(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row and the array of each block of a layer."""
        layer, begin = self._layers[name], 0
        with (self._folder / name).open("rb") as file:
            for block in self._blocks:
                content = file.read(block["ends"][name] - begin)
                begin = block["ends"][name]
                shape = (block["stop"] - block["start"], self._width, layer.bands or 1)
                array = _decode(content, np.dtype(layer.dtype), shape, self._folder / name)
                yield block["start"], array if layer.bands else array[..., 0]

    def read_all(self, name: str) -> np.ndarray:
        """Return all finished rows of a layer."""
        return np.concatenate([array for _, array in self.read(name)])

    def discard(self) -> None:
        """Remove the rows, which cannot be continued."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Close the files."""
        for file in (*self._files.values(), self._journal):
            file.close()


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _decode(content: bytes, dtype: np.dtype, shape: tuple[int, ...], path: Path) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    try:
        # Into a buffer of the expected size, since the content may claim any size.
        decoded = imagecodecs.zstd_decode(content, out=size)
        return np.frombuffer(decoded, dtype).reshape(shape)
    except (imagecodecs.ZstdError, ValueError, MemoryError) as error:
        raise UserError(
            f"{path}: is damaged; remove its folder to predict the image again"
        ) from error


def _refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raise UserError for a link or a pipe, through which another file would be overwritten."""
    for name in names:
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"{path}: is no regular file; remove its folder")


def _read_journal(folder: Path, layers: Mapping[str, Layer]) -> list[dict[str, Any]]:
    """Return the blocks up to the first one that is damaged or incomplete."""
    blocks: list[dict[str, Any]] = []
    if not (folder / JOURNAL).is_file():
        return blocks
    with contextlib.ExitStack() as stack:
        files = {}
        for name in layers:
            (folder / name).touch()
            files[name] = stack.enter_context((folder / name).open("rb"))
        for line in (folder / JOURNAL).read_bytes().splitlines(keepends=True):
            block = _parse_block(line, layers, blocks[-1] if blocks else None)
            if block is None or not all(
                _verify_bytes(file, block, name) for name, file in files.items()
            ):
                break
            blocks.append(block)
    return blocks


def _parse_block(
    line: bytes, layers: Mapping[str, Layer], previous: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Parse a line of the journal; return None unless its block follows the previous one."""
    block = parse_object(line)
    if block is None:
        return None
    start, ends = 0, dict.fromkeys(layers, 0)
    if previous:
        start, ends = previous["stop"], previous["ends"]
    numbers = [block.get("start"), block.get("stop")]
    for key in ("ends", "crc32"):
        entry = block.get(key)
        if not isinstance(entry, dict) or entry.keys() != layers.keys():
            return None
        numbers += entry.values()
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        return None
    follows = block["start"] == start < block["stop"]
    return block if follows and all(block["ends"][name] >= ends[name] for name in ends) else None


def _seed(start: int, stop: int) -> int:
    """Return the checksum of the row numbers, the initial value of the block's checksum."""
    return zlib.crc32(f"{start} {stop}".encode())


def _verify_bytes(file: BinaryIO, block: Mapping[str, Any], name: str) -> bool:
    """Return whether the bytes from the file's position to the end of the block are intact."""
    end, checksum = block["ends"][name], _seed(block["start"], block["stop"])
    while (left := end - file.tell()) > 0:
        chunk = file.read(min(left, 2**20))
        if not chunk:
            return False
        checksum = zlib.crc32(chunk, checksum)
    return checksum == block["crc32"][name]


@contextlib.contextmanager
def open_row_store(
    folder: Path, plan: Mapping[str, Any], width: int, layers: Mapping[str, Layer]
) -> Iterator[RowStore]:
    """Open or create the row store of an image; remove it if the block ends without an error.

    Args:
        folder: Hidden folder of this image.
        plan: Everything that the rows depend on, as JSON values. Rows of another plan are removed.
        width: Width of the image.
        layers: The stored layers by name.

    Raises:
        UserError: The folder cannot be written, or another process writes to it.
    """
    plan = json.loads(json.dumps(dict(plan)))
    with locked_folder(folder, folder):
        with writing(folder):
            if _read_plan(folder) != plan:
                for path in folder.iterdir():
                    path.unlink()
                write_json(folder / PLAN, plan)
            store = RowStore(folder, width, layers)
        with contextlib.closing(store):
            yield store
        shutil.rmtree(folder, ignore_errors=True)


def _read_plan(folder: Path) -> Any:
    try:
        return read_json(folder / PLAN, MAX_PLAN_BYTES)
    except UserError:
        return None
