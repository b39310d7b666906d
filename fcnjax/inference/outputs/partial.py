"""What is done of a large image, on disk as it gets done, so that a run that was killed goes on.

Beside the outputs lies a hidden folder, which the end takes away: a file for each layer, to which
rows are appended compressed, and a journal with a line for each block of rows, written once their
bytes are there, with a checksum of them. What follows the last undamaged block is cut off at a
restart.
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
from fcnjax.io.atomic_files import write_json
from fcnjax.io.json_files import parse_json, read_json
from fcnjax.io.lock_file import try_lock

PLAN, JOURNAL = "plan.json", "journal.jsonl"
LARGEST_PLAN = 2**20  # bytes
LEVEL = 1  # of the compression, which is to be quick


@dataclass(frozen=True)
class Layer:
    """What is kept of each pixel.

    Attributes:
        dtype: NumPy's name.
        bands: How many values; 0: one, and no axis for it.
    """

    dtype: str
    bands: int = 0


class Partial:
    """The rows that are done; made by `partial_rows`.

    Attributes:
        done: How many rows are.
        resumed: Whether an earlier run did some of them.
    """

    def __init__(self, folder: Path, width: int, layers: Mapping[str, Layer]):
        self._folder, self._width, self._layers = folder, width, dict(layers)
        _refuse_links(folder, (*layers, JOURNAL))
        self._blocks = _read_journal(folder, self._layers)
        self.done = self._blocks[-1]["stop"] if self._blocks else 0
        self.resumed = bool(self._blocks)
        ends = self._blocks[-1]["ends"] if self._blocks else dict.fromkeys(layers, 0)
        self._files = {}
        for name in layers:
            self._files[name] = (folder / name).open("ab")
            self._files[name].truncate(ends[name])
            # Else a small block, which is buffered, would be noted behind what was cut off.
            self._files[name].seek(ends[name])
        # A line that was cut off is written anew with the others.
        lines = "".join(json.dumps(block) + "\n" for block in self._blocks)
        (folder / JOURNAL).write_text(lines, encoding="utf-8")
        self._journal = (folder / JOURNAL).open("a", encoding="utf-8")

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the next rows: of each layer `[rows, W]` or `[rows, W, bands]`.

        Raises:
            UserError: They cannot be written.
        """
        try:
            self._append(arrays)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def _append(self, arrays: Mapping[str, np.ndarray]) -> None:
        (rows,) = {len(array) for array in arrays.values()}
        ends, checksums, stop = {}, {}, self.done + rows
        for name, file in self._files.items():
            array = np.ascontiguousarray(arrays[name], self._layers[name].dtype)
            content = imagecodecs.zstd_encode(array.reshape(-1).view(np.uint8), level=LEVEL)
            file.write(content)
            ends[name] = file.tell()
            checksums[name] = zlib.crc32(content, _seed(self.done, stop))
            _to_disk(file)
        block = {"start": self.done, "stop": stop, "ends": ends, "crc32": checksums}
        self._journal.write(json.dumps(block) + "\n")
        _to_disk(self._journal)
        self._blocks.append(block)
        self.done += rows

    def read(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """The blocks of a layer: the first row of each, and the array."""
        layer, begin = self._layers[name], 0
        with (self._folder / name).open("rb") as file:
            for block in self._blocks:
                content = file.read(block["ends"][name] - begin)
                begin = block["ends"][name]
                shape = (block["stop"] - block["start"], self._width, layer.bands or 1)
                array = _decode(content, np.dtype(layer.dtype), shape, self._folder / name)
                yield block["start"], array if layer.bands else array[..., 0]

    def whole(self, name: str) -> np.ndarray:
        """All of a layer."""
        return np.concatenate([array for _, array in self.read(name)])

    def discard(self) -> None:
        """Removes what is done, where it cannot be continued."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Closes the files."""
        for file in (*self._files.values(), self._journal):
            file.close()


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _decode(content: bytes, dtype: np.dtype, shape: tuple[int, ...], path: Path) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    try:
        # Into a buffer of the size that is due: the content may claim any.
        decoded = imagecodecs.zstd_decode(content, out=size)
        return np.frombuffer(decoded, dtype).reshape(shape)
    except (imagecodecs.ZstdError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: is damaged; remove its folder to label the image anew") from error


def _refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raises UserError for a link or a pipe, through which another file would be overwritten."""
    for name in names:
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"{path}: is no regular file; remove its folder")


def _read_journal(folder: Path, layers: Mapping[str, Layer]) -> list[dict[str, Any]]:
    """The blocks whose bytes are there and undamaged, up to the first that is not so."""
    blocks: list[dict[str, Any]] = []
    if not (folder / JOURNAL).is_file():
        return blocks
    with contextlib.ExitStack() as stack:
        files = {}
        for name in layers:
            (folder / name).touch()
            files[name] = stack.enter_context((folder / name).open("rb"))
        for line in (folder / JOURNAL).read_bytes().splitlines(keepends=True):
            block = _block(line, layers, blocks[-1] if blocks else None)
            if block is None or not all(
                _has_bytes(file, block, name) for name, file in files.items()
            ):
                break
            blocks.append(block)
    return blocks


def _block(
    line: bytes, layers: Mapping[str, Layer], before: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The block of a line of the journal; None if it does not follow the one before it."""
    try:
        # A file system may leave zeros where a machine was cut off.
        block = parse_json(line.decode(), JOURNAL) if line.endswith(b"\n") else None
    except (UserError, UnicodeDecodeError):
        return None
    if not isinstance(block, dict):
        return None
    start, ends = (before["stop"], before["ends"]) if before else (0, dict.fromkeys(layers, 0))
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
    """The checksum of the rows of a block, from which that of its bytes goes on."""
    return zlib.crc32(f"{start} {stop}".encode())


def _has_bytes(file: BinaryIO, block: Mapping[str, Any], name: str) -> bool:
    """Return whether the bytes from where the file stands up to the block's end are its own."""
    end, found = block["ends"][name], _seed(block["start"], block["stop"])
    while (left := end - file.tell()) > 0:
        piece = file.read(min(left, 2**20))
        if not piece:
            return False
        found = zlib.crc32(piece, found)
    return found == block["crc32"][name]


@contextlib.contextmanager
def partial_rows(
    folder: Path, plan: Mapping[str, Any], width: int, layers: Mapping[str, Layer]
) -> Iterator[Partial]:
    """Opens what is done of an image, or begins; takes it away when the block ends well.

    Args:
        folder: Of this image alone; hidden.
        plan: All that the rows depend on, as JSON takes it: what an earlier run left by another
            plan is taken away.
        width: Of the image.
        layers: What is kept, by name.

    Raises:
        UserError: The folder cannot be written, or another process is at it.
    """
    plan = json.loads(json.dumps(dict(plan)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        with contextlib.closing(_opened(folder, lock, plan, width, layers)) as partial:
            yield partial
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _opened(folder: Path, lock: int, plan: Any, width: int, layers: Mapping[str, Layer]) -> Partial:
    try:
        if try_lock(lock) is False:
            raise UserError(f"{folder}: is being written to by another run")
        if _plan_in(folder) != plan:
            for path in folder.iterdir():
                path.unlink()
            write_json(folder / PLAN, plan)
        return Partial(folder, width, layers)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be written: {error.strerror or error}")


def _plan_in(folder: Path) -> Any:
    try:
        return read_json(folder / PLAN, LARGEST_PLAN)
    except UserError:
        return None
