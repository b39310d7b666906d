"""Finds the examples of a stored split among those that are there now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fcnjax.data.example import THREADS, Box, Example, FileRecord, file_record, file_records
from fcnjax.data.stored_split import Key, StoredExample, StoredSet


@dataclass(frozen=True)
class Match:
    """Where the examples of a stored split are now.

    Attributes:
        places: The place of each among the examples of now, by its stored key; one that is
            missing has none.
        updated: Each as it is now, by its stored key; one that is missing as it was.
        missing: The titles of those that are not there.
        renamed: The former and the new title of those that have another name and the same image.
        changed: The names of the files whose contents changed.
        images_changed: Whether a file of an image is among them.
        sampled: The names of files that were written again and of which only parts were compared.
    """

    places: Mapping[Key, int]
    updated: Mapping[Key, StoredExample]
    missing: Sequence[str]
    renamed: Sequence[tuple[str, str]]
    changed: Sequence[str]
    images_changed: bool
    sampled: Sequence[str]


def find_keys(wanted: Sequence[StoredExample], examples: Sequence[Example]) -> dict[Key, int]:
    """The places of stored examples among those of now, by their names alone."""
    there: dict[Key, int] = {}
    for place, example in enumerate(examples):
        there.setdefault((example.names, example.box), place)
    return {one.key: there[one.key] for one in wanted if one.key in there}


def match(stored: StoredSet, wanted: Sequence[StoredExample], examples: Sequence[Example]) -> Match:
    """Finds stored examples by their names, and those that have none any more by their contents.

    A file of the stored size and time is the stored file; of another time it is where its contents
    are the same.

    Args:
        stored: The set that they belong to.
        wanted: The examples.
        examples: Those that are there now.
    """
    wanted = list({one.key: one for one in wanted}.values())
    places = find_keys(wanted, examples)
    lost = [one for one in wanted if one.key not in places]
    found = _by_contents(lost, examples, set(places.values()), stored.limit)
    renamed = [(one.title, examples[found[one.key]].title) for one in lost if one.key in found]
    places |= found
    comparison = _Comparison(stored.limit)
    pairs = [(one, examples[places[one.key]]) for one in wanted if one.key in places]
    comparison.read(pairs)
    # A list may name a file that was removed.
    absent = [one for one, e in pairs if comparison.is_absent(one, e)]
    for one in absent:
        del places[one.key]
    pairs = [pair for pair in pairs if pair[0].key in places]
    updated = {one.key: one for one in wanted} | {one.key: comparison(one, e) for one, e in pairs}
    return Match(
        places,
        updated,
        [one.title for one in wanted if one.key not in places],
        renamed,
        list(comparison.changed),
        comparison.images_changed,
        list(comparison.sampled),
    )


def _by_contents(
    lost: Sequence[StoredExample], examples: Sequence[Example], used: set[int], limit: int
) -> dict[Key, int]:
    """The places of examples whose image has the contents of a lost one."""
    if not lost:
        return {}
    sizes = {one.files[0].size for one in lost if one.files}
    rest = [place for place, e in enumerate(examples) if e.files and place not in used]
    records = file_records(examples[place].files[0] for place in rest)
    likely = [place for place in rest if records[examples[place].files[0]].size in sizes]
    records = file_records((examples[place].files[0] for place in likely), limit)
    there: dict[tuple[Box, str], list[int]] = defaultdict(list)
    for place in reversed(likely):
        there[examples[place].box, records[examples[place].files[0]].digest].append(place)
    found = {}
    for one in lost:
        places = one.files and one.files[0].digest and there[one.box, one.files[0].digest]
        if places:
            found[one.key] = places.pop()
    return found


class _Comparison:
    """Compares the files of stored examples with those of now, each file once."""

    def __init__(self, limit: int):
        self.changed: dict[str, None] = {}
        self.sampled: dict[str, None] = {}
        self.images_changed = False
        self._limit = limit
        self._now: dict[tuple[FileRecord, Path], FileRecord] = {}

    def read(self, pairs: Sequence[tuple[StoredExample, Example]]) -> None:
        """Reads the records of all files, and the contents of those that were written again."""
        files = list(
            dict.fromkeys(
                pair for one, e in pairs for pair in zip(one.files, e.files, strict=False)
            )
        )
        with ThreadPoolExecutor(THREADS) as pool:
            self._now = dict(zip(files, pool.map(self._record, files), strict=True))

    def _record(self, pair: tuple[FileRecord, Path]) -> FileRecord:
        before, path = pair
        now = file_record(path)
        if now[:2] == before[:2]:
            return before
        return file_record(path, self._limit)

    def is_absent(self, one: StoredExample, example: Example) -> bool:
        """Whether a file of an example is not there any more."""
        return any(
            self._now[before, path].size < 0 <= before.size
            for before, path in zip(one.files, example.files, strict=False)
        )

    def __call__(self, one: StoredExample, example: Example) -> StoredExample:
        """The example as it is now; notes what changed."""
        records = []
        for place, path in enumerate(example.files):
            name = example.names[min(place, len(example.names) - 1)]
            if place >= len(one.files):  # as of a part of a face that was drawn since
                self.changed[name] = None
                records.append(file_record(path, self._limit))
                continue
            before, now = one.files[place], self._now[one.files[place], path]
            records.append(now)
            if now.digest != before.digest:
                self.changed[name] = None
                self.images_changed |= place == 0
            elif now.mtime_ns != before.mtime_ns and now.size > self._limit:
                self.sampled[name] = None
        if len(example.files) < len(one.files) or example.digest != one.digest:
            self.changed[example.names[0]] = None
        return StoredExample(example.names, example.box, example.digest, tuple(records))
