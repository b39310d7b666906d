"""Manifest of a run over many images, from which a killed run resumes.

`predict.json` describes the run. Journals record the result of each image while it runs, and become
`manifest.jsonl` at the end: one line per image, in the order of the listing.
"""

import contextlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.outputs.journal import (
    MAX_LINE_BYTES,
    PARTS,
    journal_paths,
    parse_record,
    read_records,
)
from fcnjax.inference.outputs.names import SUFFIXES
from fcnjax.io.atomic_files import atomic, write_json
from fcnjax.io.json_files import read_json
from fcnjax.io.lock_file import locked_folder

PLAN, MANIFEST = "predict.json", "manifest.jsonl"
FORMAT_VERSION = 1
CHUNK = 100_000  # lines in memory at a time
_TEMPORARY = re.compile(r"\.(?P<name>.+)-[a-z0-9_]{8}(?P<suffix>\.png|\.npy)")


@contextlib.contextmanager
def claim_folder(out: str, plan: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """Lock the output folder of a run and yield it.

    Args:
        out: The folder, created if necessary.
        plan: Description of the run in parts. A run resumes only if all parts are equal.

    Raises:
        UserError: The folder contains another run or other files, or is being written to.
    """
    folder = Path(out).absolute()
    if "://" in out:
        raise UserError(f"--out: {out} is a URI; valid: a folder, which all machines share")
    with locked_folder(folder, f"--out: {out}"):
        _check_plan(out, folder, plan)
        yield folder


def _check_plan(out: str, folder: Path, plan: Mapping[str, Mapping[str, Any]]) -> None:
    plan = {"format_version": FORMAT_VERSION, **plan}
    if not (folder / PLAN).is_file():
        if any(not path.name.startswith(".predict-") for path in folder.iterdir()):
            raise UserError(
                f"--out: {out} is not empty, and holds no run of this kind; give another folder"
            )
        write_json(folder / PLAN, plan)
        return
    stored = read_json(folder / PLAN, MAX_LINE_BYTES)
    for part, value in plan.items():
        stored_value = stored.get(part) if isinstance(stored, dict) else None
        if stored_value != value:
            raise UserError(
                f"--out: {out} holds the masks of another {part}: {_format_part(stored_value)}, "
                f"and this one is {_format_part(value)}; give another folder"
            )


def _format_part(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    return ", ".join(f"{key} {str(value)[:100]}" for key, value in part.items())


class RecordIndex:
    """Location of the record of each image in the manifest and the journals.

    Args:
        folder: Output folder of the run.
        count: Number of images in the listing.

    Attributes:
        recorded: `[count]` bool, whether an image has a record.
        ok: `[count]` bool, whether an image was predicted successfully.
    """

    def __init__(self, folder: Path, count: int):
        self._folder = folder
        self.recorded, self.ok = np.zeros(count, bool), np.zeros(count, bool)
        self._file, self._offset = np.zeros(count, np.int32), np.zeros(count, np.int64)
        self._paths = [folder / MANIFEST, *journal_paths(folder)]
        for number, path in enumerate(self._paths):
            if path.is_file():
                with path.open("rb") as file:
                    self._read(number, file)

    def _read(self, number: int, file: BinaryIO) -> None:
        for line, (offset, record) in enumerate(read_records(file)):
            if record is None or "begun" in record:
                continue
            # Records of the manifest have no index: the line number is the index.
            index = line if number == 0 else record.get("index")
            if index is None or index >= len(self.recorded):
                continue
            ok = record["status"] == "ok"
            # If two processes predicted the image, a success takes precedence.
            if ok or not self.ok[index]:
                self.recorded[index], self.ok[index] = True, ok
                self._file[index], self._offset[index] = number, offset

    @property
    def is_resumed(self) -> bool:
        """True if an earlier start left journals."""
        return len(self._paths) > 1

    def write_manifest(self) -> None:
        """Merge the records into one manifest, written atomically, and remove the journals.

        Raises:
            UserError: The manifest cannot be written.
        """
        with atomic(self._folder / MANIFEST) as temporary, temporary.open("wb") as out:
            for start in range(0, len(self.recorded), CHUNK):
                for record in self._read_chunk(start, min(start + CHUNK, len(self.recorded))):
                    record.pop("index", None)
                    out.write(json.dumps(record).encode() + b"\n")
        shutil.rmtree(self._folder / PARTS, ignore_errors=True)

    def _read_chunk(self, start: int, stop: int) -> list[dict[str, Any]]:
        # One file after another, since there may be more than can be open at once.
        records: list[Any] = [None] * (stop - start)
        order = np.lexsort((self._offset[start:stop], self._file[start:stop]))
        for number in np.unique(self._file[start:stop]):
            with self._paths[number].open("rb") as file:
                for i in order[self._file[start:stop][order] == number]:
                    file.seek(self._offset[start + i])
                    records[i] = parse_record(file.readline(MAX_LINE_BYTES))
        return records


def remove_temporaries(folder: Path, ids: Sequence[str]) -> None:
    """Remove the temporary files that a killed process left of the images with these ids."""
    folders: dict[Path, set[str]] = defaultdict(set)
    for name in ids:
        path = folder / name
        folders[path.parent].update(f"{path.name}{suffix}" for suffix in SUFFIXES)
    for parent, names in folders.items():
        if not parent.is_dir():
            continue
        for path in list(parent.iterdir()):
            match = _TEMPORARY.fullmatch(path.name)
            if match and match["name"] + match["suffix"] in names:
                path.unlink(missing_ok=True)
