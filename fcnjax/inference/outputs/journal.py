"""Journals of a run over many images: one file per process, a line per event.

Each process appends to a file of its own in the folder `manifest.parts`: a line when it starts an
image, and one with the result. A line that was cut off or damaged is ignored, so that its image is
predicted again.
"""

import json
import uuid
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fcnjax.errors import UserError
from fcnjax.inference.items import ItemResult
from fcnjax.io.json_files import parse_json
from fcnjax.io.regular_files import writing

PARTS = "manifest.parts"
MAX_LINE_BYTES = 2**20


class Journal:
    """The journal of one process.

    Args:
        folder: Output folder of the run.
        session: Id of this start of the run.
    """

    def __init__(self, folder: str | Path, session: str):
        parts = Path(folder) / PARTS
        parts.mkdir(exist_ok=True)
        self._path = parts / f"{session}-{uuid.uuid4().hex}.jsonl"
        # Unbuffered, so that a line survives the death of the process.
        self._file = self._path.open("ab", buffering=0)
        weakref.finalize(self, self._file.close)

    def begin(self, index: int) -> None:
        """Record that the process starts an image."""
        self._write({"begun": index})

    def end(self, result: ItemResult) -> None:
        """Record the result of an image."""
        item = result.item
        self._write(
            {
                "index": item.index,
                "id": item.id,
                "source": item.source,
                "mask": result.mask,
                "size": result.size,
                "status": "ok" if result.error is None else "failed",
                "error": result.error,
                "seconds": round(result.seconds, 4),
            }
        )

    def _write(self, record: Mapping[str, Any]) -> None:
        with writing(self._path):
            self._file.write(json.dumps(record).encode() + b"\n")


def read_records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the offset and the record of each line, with None for an invalid line."""
    start = 0
    while line := file.readline(MAX_LINE_BYTES):
        yield start, parse_record(line)
        while line and not line.endswith(b"\n"):  # skip the rest of a line that is too long
            line = file.readline(MAX_LINE_BYTES)
        start = file.tell()


def parse_object(line: bytes) -> dict[str, Any] | None:
    """Parse a line of JSON; return None unless it is a complete object."""
    try:
        # A file system may leave zeros after a crash of the machine.
        value = parse_json(line.decode(), "line") if line.endswith(b"\n") else None
    except (UserError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Parse a line of a journal or manifest; return None if it is invalid."""
    record = parse_object(line)
    if record is None:
        return None
    if "begun" in record:
        return record if _is_index(record["begun"]) else None
    is_result = record.get("status") in ("ok", "failed") and _is_index(record.get("index", 0))
    return record if is_result else None


def _is_index(value: Any) -> bool:
    return type(value) is int and value >= 0


def read_session(folder: Path, session: str) -> tuple[dict[int, int], dict[int, bool]]:
    """Read the journals of one session.

    Returns:
        How often each image was started, and whether each finished image succeeded.
    """
    begun: dict[int, int] = defaultdict(int)
    done: dict[int, bool] = {}
    for path in journal_paths(folder, f"{session}-*.jsonl"):
        with path.open("rb") as file:
            for _, record in read_records(file):
                if record and "begun" in record:
                    begun[record["begun"]] += 1
                elif record and "index" in record:
                    done[record["index"]] = record["status"] == "ok"
    return begun, done


def journal_paths(folder: Path, pattern: str = "*.jsonl") -> list[Path]:
    """Return the journals of a run by name."""
    return sorted(path for path in (folder / PARTS).glob(pattern) if path.is_file())
