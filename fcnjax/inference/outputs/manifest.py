"""What became of each image of a run over many, so that a run that was killed can go on.

While it runs, every process that labels appends to a file of its own in `manifest.parts/`: a line
when it begins an image and one when that is done. At the end they become `manifest.jsonl`, a line
an image in the order of the listing; `predict.json` says what the run is of.
"""

import contextlib
import json
import os
import re
import shutil
import uuid
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.runners.local import Outcome
from fcnjax.io.atomic_files import atomic, write_json
from fcnjax.io.json_files import parse_json, read_json
from fcnjax.io.lock_file import try_lock

PLAN, PARTS, MANIFEST = "predict.json", "manifest.parts", "manifest.jsonl"
FORMAT_VERSION = 1
LONGEST_LINE = 2**20  # bytes
CHUNK = 100_000  # lines that are in memory at a time
_TEMPORARY = re.compile(r"\.(?P<name>.+)-[a-z0-9_]{8}(?P<suffix>\.png|\.npy)")


@contextlib.contextmanager
def claimed(out: str, plan: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """Holds the folder that a run writes to, and yields it; a folder that is empty becomes its own.

    Args:
        out: The folder; is made.
        plan: What the run is of, in parts: one that has the same may go on with it.

    Raises:
        UserError: The folder holds another run, or something else, or is being written to.
    """
    folder = Path(out).absolute()
    if "://" in out:
        raise UserError(f"--out: {out} is a URI; valid: a folder, which all machines share")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written: {error.strerror}") from error
    try:
        if try_lock(lock) is False:
            raise UserError(f"--out: {out} is being written to by another run")
        _check(out, folder, plan)
        yield folder
    finally:
        os.close(lock)


def _check(out: str, folder: Path, plan: Mapping[str, Mapping[str, Any]]) -> None:
    plan = {"format_version": FORMAT_VERSION, **plan}
    if not (folder / PLAN).is_file():
        if any(not path.name.startswith(".predict-") for path in folder.iterdir()):
            raise UserError(
                f"--out: {out} is not empty, and holds no run of this kind; give another folder"
            )
        write_json(folder / PLAN, plan)
        return
    there = read_json(folder / PLAN, LONGEST_LINE)
    for part, wanted in plan.items():
        found = there.get(part) if isinstance(there, dict) else None
        if found != wanted:
            raise UserError(
                f"--out: {out} holds the masks of another {part}: {_words(found)}, and this one "
                f"is {_words(wanted)}; give another folder"
            )


def _words(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    return ", ".join(f"{key} {str(value)[:100]}" for key, value in part.items())


class Journal:
    """The lines that one process writes.

    Args:
        folder: That of the run.
        session: The start of the run that it belongs to.
    """

    def __init__(self, folder: str | Path, session: str):
        parts = Path(folder) / PARTS
        parts.mkdir(exist_ok=True)
        self._path = parts / f"{session}-{uuid.uuid4().hex}.jsonl"
        # A line is there for all once it is written.
        self._file = self._path.open("ab", buffering=0)
        weakref.finalize(self, self._file.close)

    def begin(self, index: int) -> None:
        """Says that an image is being worked on."""
        self._write({"begun": index})

    def end(self, outcome: Outcome) -> None:
        """Says what became of it."""
        item = outcome.item
        labelled = outcome.error is None
        self._write(
            {
                "index": item.index,
                "id": item.id,
                "source": item.source,
                "mask": outcome.mask,
                "size": outcome.size,
                "status": "ok" if labelled else "failed",
                "error": outcome.error,
                "seconds": round(outcome.seconds, 4),
            }
        )

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from error


def _lines(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The records of a file and where each starts; None for a line that is no record.

    Such a line was cut off or damaged: its image is labelled again.
    """
    start = 0
    while line := file.readline(LONGEST_LINE):
        yield start, _record(line)
        while line and not line.endswith(b"\n"):  # the rest of a line that is too long
            line = file.readline(LONGEST_LINE)
        start = file.tell()


def _record(line: bytes) -> dict[str, Any] | None:
    """The record that a line holds, None if none: a file system may leave zeros at a crash."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = parse_json(line.decode("utf-8"), MANIFEST)
    except (UserError, UnicodeDecodeError):
        return None
    if not isinstance(record, dict):
        return None
    if "begun" in record:
        return record if _is_index(record["begun"]) else None
    fits = record.get("status") in ("ok", "failed") and _is_index(record.get("index", 0))
    return record if fits else None


def _is_index(value: Any) -> bool:
    return type(value) is int and value >= 0


def begun_and_done(folder: Path, session: str) -> tuple[dict[int, int], dict[int, bool]]:
    """What the processes of a session have done so far.

    Returns:
        How often an image was begun; and of those that were ended, whether they were labelled.
    """
    begun: dict[int, int] = defaultdict(int)
    done: dict[int, bool] = {}
    for path in _files(folder, f"{session}-*.jsonl"):
        with path.open("rb") as file:
            for _, record in _lines(file):
                if record and "begun" in record:
                    begun[record["begun"]] += 1
                elif record and "index" in record:
                    done[record["index"]] = record["status"] == "ok"
    return begun, done


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in (folder / PARTS).glob(pattern) if path.is_file())


class Results:
    """Where the record of each image is that has one.

    Args:
        folder: That of the run.
        count: How many images the listing has.

    Attributes:
        found: `[count]` bool: whether it has one.
        ok: `[count]` bool: whether it was labelled.
    """

    def __init__(self, folder: Path, count: int):
        self._folder = folder
        self.found, self.ok = np.zeros(count, bool), np.zeros(count, bool)
        self._file, self._offset = np.zeros(count, np.int32), np.zeros(count, np.int64)
        self._paths = [folder / MANIFEST, *_files(folder, "*.jsonl")]
        for number, path in enumerate(self._paths):
            if path.is_file():
                with path.open("rb") as file:
                    self._read(number, file)

    def _read(self, number: int, file: BinaryIO) -> None:
        for line, (offset, record) in enumerate(_lines(file)):
            if record is None or "begun" in record:
                continue
            index = line if number == 0 else record.get("index")
            if index is None or index >= len(self.found):
                continue
            ok = record["status"] == "ok"
            # Two processes may have done it; one that labelled it counts.
            if ok or not self.ok[index]:
                self.found[index], self.ok[index] = True, ok
                self._file[index], self._offset[index] = number, offset

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier start left records of its own."""
        return len(self._paths) > 1

    def write(self) -> None:
        """Makes one manifest of the parts, whole or not at all, and takes the parts away.

        Raises:
            UserError: It cannot be written.
        """
        with atomic(self._folder / MANIFEST) as temporary, temporary.open("wb") as out:
            for start in range(0, len(self.found), CHUNK):
                for record in self._records(start, min(start + CHUNK, len(self.found))):
                    record.pop("index", None)
                    out.write(json.dumps(record).encode() + b"\n")
        shutil.rmtree(self._folder / PARTS, ignore_errors=True)

    def _records(self, start: int, stop: int) -> Iterable[dict[str, Any]]:
        # File by file: there may be more of them than can be open at once.
        records: list[Any] = [None] * (stop - start)
        order = np.lexsort((self._offset[start:stop], self._file[start:stop]))
        for number in np.unique(self._file[start:stop]):
            with self._paths[number].open("rb") as file:
                for i in order[self._file[start:stop][order] == number]:
                    file.seek(self._offset[start + i])
                    records[i] = _record(file.readline(LONGEST_LINE))
        return records


def remove_temporaries(folder: Path, ids: Sequence[str]) -> None:
    """Removes what a killed process left half-written of the images with these ids."""
    folders: dict[Path, set[str]] = defaultdict(set)
    for name in ids:
        path = folder / name
        folders[path.parent].update(f"{path.name}{ending}" for ending in ENDINGS.values())
    for parent, names in folders.items():
        if not parent.is_dir():
            continue
        for path in list(parent.iterdir()):
            match = _TEMPORARY.fullmatch(path.name)
            if match and match["name"] + match["suffix"] in names:
                path.unlink(missing_ok=True)
