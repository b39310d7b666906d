"""What is done of a large image, on disk as it gets done, so that a run that was killed goes on.

Beside the outputs lies a hidden folder, which the end takes away: a file for each layer, to which
rows are appended compressed, and a journal with a line for each block of rows, written once their
bytes are there. What follows the last line is cut off at a restart.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from fcnjax.errors import UserError
from fcnjax.files import write_json
from fcnjax.io.lock_file import try_lock

PLAN, JOURNAL = "plan.json", "journal.jsonl"
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
        ends = {}
        for name, file in self._files.items():
            array = np.ascontiguousarray(arrays[name], self._layers[name].dtype)
            file.write(imagecodecs.zstd_encode(array.reshape(-1).view(np.uint8), level=LEVEL))
            ends[name] = file.tell()
            _to_disk(file)
        block = {"start": self.done, "stop": self.done + rows, "ends": ends}
        self._journal.write(json.dumps(block) + "\n")
        _to_disk(self._journal)
        self._blocks.append(block)
        self.done += rows

    def read(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """The blocks of a layer: the first row of each, and the array."""
        layer, begin = self._layers[name], 0
        with (self._folder / name).open("rb") as file:
            for block in self._blocks:
                content = imagecodecs.zstd_decode(file.read(block["ends"][name] - begin))
                begin = block["ends"][name]
                shape = (block["stop"] - block["start"], self._width, layer.bands or 1)
                array = np.frombuffer(content, layer.dtype).reshape(shape)
                yield block["start"], array if layer.bands else array[..., 0]

    def whole(self, name: str) -> np.ndarray:
        """All of a layer."""
        return np.concatenate([array for _, array in self.read(name)])

    def close(self) -> None:
        """Closes the files."""
        for file in (*self._files.values(), self._journal):
            file.close()


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _read_journal(folder: Path, layers: Mapping[str, Layer]) -> list[dict[str, Any]]:
    """The blocks whose bytes are there."""
    blocks: list[dict[str, Any]] = []
    sizes = {name: _size(folder / name) for name in layers}
    for line in _lines(folder / JOURNAL):
        block = None
        # A file system may leave zeros where a machine was cut off.
        with contextlib.suppress(ValueError):
            block = json.loads(line) if line.endswith("\n") else None
        if block is None or any(block["ends"][name] > size for name, size in sizes.items()):
            break
        blocks.append(block)
    return blocks


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)


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
        return json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
