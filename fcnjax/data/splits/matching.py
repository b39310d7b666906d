"""Finds the examples of a stored split among those that are there now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fcnjax.data.splits.example import THREADS, Box, Example, FileRecord, file_record, file_records
from fcnjax.data.splits.stored_split import Key, StoredExample, StoredSet


@dataclass(frozen=True)
class Match:
    """The places of the examples of a stored split in the set as it is now.

    Attributes:
        places: The place of each among the examples of now, by its stored key; one that is
            missing has none.
        updated: Each as it is now, by its stored key; one that is missing as it was.
        missing: The titles of those that are not there.
        renamed: The former and the new name of images that have another name.
        changed: The names of the files whose contents changed.
        images_changed: Whether a file of an image is among them.
        sampled: The names of files that were written again and of which only parts were compared.
        moved_rows: The names of records whose row holds another record now.
    """

    places: Mapping[Key, int]
    updated: Mapping[Key, StoredExample]
    missing: Sequence[str]
    renamed: Sequence[tuple[str, str]]
    changed: Sequence[str]
    images_changed: bool
    sampled: Sequence[str]
    moved_rows: Sequence[str]


def find_keys(wanted: Sequence[StoredExample], examples: Sequence[Example]) -> dict[Key, int]:
    """The places of stored examples among those of now, by their names alone."""
    there: dict[Key, int] = {}
    for place, example in enumerate(examples):
        there.setdefault((example.names, example.box), place)
    return {one.key: there[one.key] for one in wanted if one.key in there}


def match(stored: StoredSet, parts: Sequence[str], examples: Sequence[Example]) -> Match:
    """Finds stored examples by their names and contents.

    A file of the stored size and time is the stored file; of another time it is where its contents
    are the same. An image that is not where its name says is looked for by its contents: files are
    renamed, and numbered anew. If it is nowhere, the image of its name is taken as a changed one,
    unless that is another of the stored images.

    Args:
        stored: The set that they belong to. All parts are looked for, since an image of one may
            now have the name of one of another.
        parts: The parts that are needed: `missing` and `images_changed` are of these.
        examples: Those that are there now.
    """
    needed = {one.key for part in parts for one in stored.parts[part]}
    wanted = list({one.key: one for each in stored.parts.values() for one in each}.values())
    named, comparison = find_keys(wanted, examples), _Comparison(stored.limit)
    comparison.read([(one, examples[named[one.key]]) for one in wanted if one.key in named])
    lost = [
        one
        for one in wanted
        if one.key not in named or not comparison.has_image(one, examples[named[one.key]])
    ]
    places = {key: place for key, place in named.items() if key not in {one.key for one in lost}}
    found = _by_contents(lost, examples, set(places.values()), stored.limit)
    places |= found
    taken = set(places.values())
    for one in lost:
        if one.key not in found and named.get(one.key) not in taken | {None}:
            places[one.key] = named[one.key]
    comparison.read([(one, examples[found[one.key]]) for one in lost if one.key in found])
    for one in wanted:  # a list may name a file that was removed
        if one.key in places and comparison.is_absent(one, examples[places[one.key]]):
            del places[one.key]
    updated = {
        one.key: comparison(one, examples[places[one.key]]) if one.key in places else one
        for one in wanted
    }
    return Match(
        places,
        updated,
        [one.title for one in wanted if one.key in needed and one.key not in places],
        _renamed((key[0][0], examples[place].names[0]) for key, place in found.items()),
        list(comparison.changed),
        bool(comparison.changed_images & needed),
        list(comparison.sampled),
        list(comparison.moved_rows),
    )


def _renamed(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # An image has many windows; and where a mask alone has another name, its own stays.
    return [(before, now) for before, now in dict.fromkeys(pairs) if before != now]


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
        self.moved_rows: dict[str, None] = {}
        self.changed_images: set[Key] = set()
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
            self._now |= dict(zip(files, pool.map(self._record, files), strict=True))

    def _record(self, pair: tuple[FileRecord, Path]) -> FileRecord:
        before, path = pair
        now = file_record(path)
        if now[:2] == before[:2]:
            return before
        return file_record(path, self._limit)

    def has_image(self, one: StoredExample, example: Example) -> bool:
        """Return whether the image of an example is the stored one."""
        if not (one.files and example.files):
            return True
        return self._now[one.files[0], example.files[0]].digest == one.files[0].digest

    def is_absent(self, one: StoredExample, example: Example) -> bool:
        """Return whether a file of an example is not there any more."""
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
                if place == 0:
                    self.changed_images.add(one.key)
            elif now.mtime_ns != before.mtime_ns and now.size > self._limit:
                self.sampled[name] = None
        if len(example.files) < len(one.files) or example.digest != one.digest:
            self.changed[example.names[0]] = None
        if len(one.box) == 1 and example.digest != one.digest:
            self.moved_rows[example.names[0]] = None
        return StoredExample(example.names, example.box, example.digest, tuple(records))
