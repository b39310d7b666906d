"""The split of a run as stored in its workdir: `split.json`.

A run draws its split once. Otherwise files that are added or removed later, or changed lists, would
divide the images differently, and images that were trained on would be scored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fcnjax.config import default_config, tuples
from fcnjax.config.migrate import FORMAT_VERSION, check_format_version, migrate_data
from fcnjax.config.stored_types import fill_section
from fcnjax.data.splits.example import Box, Example, FileRecord, file_records, hashed_bytes
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_text
from fcnjax.io.json_files import field, read_json

SPLIT_FILE = "split.json"
Key = tuple[tuple[str, ...], Box]


class StoredExample(NamedTuple):
    """An example as it was when the run began.

    Attributes:
        names: As in `Example`.
        box: As in `Example`.
        digest: As in `Example`.
        files: Records of its files.
    """

    names: tuple[str, ...]
    box: Box
    digest: str
    files: tuple[FileRecord, ...]

    @property
    def key(self) -> Key:
        """The names and the part, which identify it within its dataset."""
        return self.names, self.box

    title = Example.title


@dataclass(frozen=True)
class StoredSet:
    """A dataset of a run, its own or one of `config.data.sampling.mix`, and its division.

    Attributes:
        spec: Its entry in `config.data.sampling.mix`; "" for the run's own dataset.
        data: Its resolved `config.data`.
        limit: Bytes of each file that were hashed; larger files in pieces.
        from_start: Whether the run began with it; otherwise it was stored later, and the images of
            earlier training are unknown.
        parts: The examples of `train` and `eval`, in order; `eval` of a mixed dataset is not used.
    """

    spec: str
    data: ConfigDict
    limit: int
    from_start: bool
    parts: Mapping[str, Sequence[StoredExample]]

    @property
    def root(self) -> str:
        """The folder or name of the dataset, for messages."""
        return self.data.root or self.data.name or self.data.source

    def keys(self) -> set[Key]:
        """Return the keys of all examples."""
        return {example.key for examples in self.parts.values() for example in examples}


Split = tuple[StoredSet, ...]  # the run's own dataset first


def store(
    spec: str, data: ConfigDict, parts: Mapping[str, Sequence[Example]], from_start: bool = True
) -> StoredSet:
    """Return a dataset as it is now; reads some bytes of each of its files."""
    files = {file for examples in parts.values() for e in examples for file in e.files}
    limit = hashed_bytes(len(files))
    records = file_records(files, limit)

    def as_stored(e: Example) -> StoredExample:
        return StoredExample(e.names, e.box, e.digest, tuple(records[file] for file in e.files))

    stored = {part: tuple(map(as_stored, examples)) for part, examples in parts.items()}
    return StoredSet(spec, data, limit, from_start, stored)


def write_split(workdir: Path, split: Split) -> None:
    """Write `split.json`, one example a line."""
    sets = []
    for dataset in split:
        files: dict[FileRecord, int] = {}
        parts = {
            part: [
                [*example[:3], [files.setdefault(record, len(files)) for record in example.files]]
                for example in examples
            ]
            for part, examples in dataset.parts.items()
        }
        head = {"spec": dataset.spec, "data": dataset.data.to_dict(), "hashed_bytes": dataset.limit}
        head["from_start"] = dataset.from_start
        sets.append(_lines({**head, **parts, "files": list(files)}))
    text = f'{{"format_version": {FORMAT_VERSION}, "sets": [\n' + ",\n".join(sets) + "\n]}\n"
    write_text(workdir / SPLIT_FILE, text)


def _lines(content: Mapping[str, Any]) -> str:
    """Return a JSON object whose lists have one item a line."""
    entries = []
    for key, value in content.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
        entries.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}"


def read_split(workdir: str | Path) -> Split | None:
    """Return the split that a workdir stores; None for a workdir of an earlier version.

    Raises:
        UserError: The file is damaged, or of another version.
    """
    path = Path(workdir) / SPLIT_FILE
    if not path.is_file():
        return None
    saved = read_json(path)
    version = check_format_version(saved, str(path))
    entries = field(saved, "sets", list, str(path))
    sets = tuple(_read_set(entry, str(path), version) for entry in entries)
    if not sets or "eval" not in sets[0].parts:
        raise UserError(f"{path}: is not a split that fcnjax wrote: its first set has no 'eval'")
    return sets


def _read_set(saved: Any, path: str, version: int) -> StoredSet:
    where = f"{path}: is not a split that fcnjax wrote"
    data = default_config().data
    values = migrate_data(field(saved, "data", dict, where), version)
    fill_section(data, values, f"{path}: data")
    limit = field(saved, "hashed_bytes", int, where)
    if not 0 < limit < 2**40:
        raise UserError(f"{where}: 'hashed_bytes' is {limit}")
    files = [_read_record(record, where) for record in field(saved, "files", list, where)]
    parts = {
        part: tuple(_read_example(item, files, where) for item in field(saved, part, list, where))
        for part in ("train", "eval")
        if part == "train" or part in saved
    }
    spec, from_start = field(saved, "spec", str, where), field(saved, "from_start", bool, where)
    return StoredSet(spec, data, limit, from_start, parts)


def _read_record(record: Any, where: str) -> FileRecord:
    kinds = [type(value) for value in record] if isinstance(record, list) else []
    if kinds not in ([int, int], [int, int, str]):
        raise UserError(f"{where}: {str(record)[:60]} is not the record of a file")
    return FileRecord(*record)


def _read_example(saved: Any, files: Sequence[FileRecord], where: str) -> StoredExample:
    fits = isinstance(saved, list) and len(saved) == 4
    names, box, digest, places = saved if fits else ([], [], "", [])
    if not (
        _is_list_of(str, names)
        and names
        and isinstance(box, list)
        and all(_is_list_of(int, span) and len(span) == 2 for span in box)
        and isinstance(digest, str)
        and _is_list_of(int, places)
        and all(0 <= position < len(files) for position in places)
    ):
        raise UserError(f"{where}: {str(saved)[:60]} is not an example")
    return StoredExample(tuple(names), tuples(box), digest, tuple(files[i] for i in places))


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(type(entry) is kind for entry in value)
