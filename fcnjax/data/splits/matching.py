"""Matching of the examples of a stored split to others, by their names and contents."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnjax.data.splits.example import THREADS, Box, Example, FileRecord, file_record, file_records
from fcnjax.data.splits.stored_split import Key, StoredExample, StoredSet


@dataclass(frozen=True)
class Match:
    """The current places of the examples of a stored split.

    Attributes:
        places: Index among the current examples, by stored key; missing ones are absent.
        updated: Each example as it is now, by stored key; a missing one as it was stored.
        missing: Titles of missing examples.
        renamed: The former and the current name of renamed images.
        changed: Names of files whose contents changed.
        images_changed: Whether a file of an image is among them.
        sampled: Names of files that were rewritten, and of which only samples were compared.
        moved_rows: Names of records whose row holds another record now.
    """

    places: Mapping[Key, int]
    updated: Mapping[Key, StoredExample]
    missing: Sequence[str]
    renamed: Sequence[tuple[str, str]]
    changed: Sequence[str]
    images_changed: bool
    sampled: Sequence[str]
    moved_rows: Sequence[str]


def find_keys(stored: Sequence[StoredExample], examples: Sequence[Example]) -> dict[Key, int]:
    """Return the indices of stored examples among the current ones, by their names alone."""
    indices: dict[Key, int] = {}
    for index, example in enumerate(examples):
        indices.setdefault((example.names, example.box), index)
    return {old.key: indices[old.key] for old in stored if old.key in indices}


def match(stored: StoredSet, parts: Sequence[str], examples: Sequence[Example]) -> Match:
    """Find stored examples by their names and contents.

    A file of the stored size and time is the stored file; with another time it is if its contents
    are the same. An image that is not at its name is looked up by its contents: files are renamed
    and renumbered. If it is not found, the image of its name counts as changed, unless that is
    another stored image.

    Args:
        stored: The dataset of the examples. All parts are looked up, since an image of one part may
            now have the name of an image of another.
        parts: The required parts, to which `missing` and `images_changed` refer.
        examples: The current examples.
    """
    needed = {old.key for part in parts for old in stored.parts[part]}
    every = list({old.key: old for each in stored.parts.values() for old in each}.values())
    by_name, comparison = find_keys(every, examples), _Comparison(stored.limit)
    comparison.read([(old, examples[by_name[old.key]]) for old in every if old.key in by_name])
    lost = [
        old
        for old in every
        if old.key not in by_name or not comparison.has_image(old, examples[by_name[old.key]])
    ]
    lost_keys = {old.key for old in lost}
    places = {key: position for key, position in by_name.items() if key not in lost_keys}
    by_contents = _find_by_contents(lost, examples, set(places.values()), stored.limit)
    places |= by_contents
    taken = set(places.values())
    for old in lost:
        if old.key not in by_contents and by_name.get(old.key) not in taken | {None}:
            places[old.key] = by_name[old.key]
    comparison.read(
        [(old, examples[by_contents[old.key]]) for old in lost if old.key in by_contents]
    )
    for old in every:  # a list may name a file that was removed
        if old.key in places and comparison.is_missing(old, examples[places[old.key]]):
            del places[old.key]
    updated = {
        old.key: comparison.update(old, examples[places[old.key]]) if old.key in places else old
        for old in every
    }
    return Match(
        places=places,
        updated=updated,
        missing=[old.title for old in every if old.key in needed and old.key not in places],
        renamed=_renamed(
            (key[0][0], examples[position].names[0]) for key, position in by_contents.items()
        ),
        changed=list(comparison.changed),
        images_changed=bool(comparison.changed_images & needed),
        sampled=list(comparison.sampled),
        moved_rows=list(comparison.moved_rows),
    )


def _renamed(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # An image may have many windows; and if only a mask was renamed, the image keeps its name.
    return [(before, now) for before, now in dict.fromkeys(pairs) if before != now]


def _find_by_contents(
    lost: Sequence[StoredExample], examples: Sequence[Example], taken: set[int], limit: int
) -> dict[Key, int]:
    """Return the indices of examples whose image has the contents of a lost one."""
    if not lost:
        return {}
    sizes = {old.files[0].size for old in lost if old.files}
    images = {i: e.files[0] for i, e in enumerate(examples) if e.files and i not in taken}
    records = file_records(images.values())
    likely = {i: image for i, image in images.items() if records[image].size in sizes}
    records = file_records(likely.values(), limit)
    by_digest: dict[tuple[Box, str], list[int]] = defaultdict(list)
    for i, image in reversed(likely.items()):
        by_digest[examples[i].box, records[image].digest].append(i)
    matches = {}
    for old in lost:
        places = old.files and old.files[0].digest and by_digest[old.box, old.files[0].digest]
        if places:
            matches[old.key] = places.pop()
    return matches


class _Comparison:
    """Comparison of the files of stored examples with the current ones, each file once."""

    def __init__(self, limit: int):
        self.changed: dict[str, None] = {}
        self.sampled: dict[str, None] = {}
        self.moved_rows: dict[str, None] = {}
        self.changed_images: set[Key] = set()
        self._limit = limit
        self._current: dict[tuple[FileRecord, Path], FileRecord] = {}

    def read(self, pairs: Sequence[tuple[StoredExample, Example]]) -> None:
        """Read the records of all files, and the contents of those that were rewritten."""
        both = (zip(old.files, e.files, strict=False) for old, e in pairs)
        files = list(dict.fromkeys(itertools.chain.from_iterable(both)))
        with ThreadPoolExecutor(THREADS) as pool:
            self._current |= dict(zip(files, pool.map(self._record, files), strict=True))

    def _record(self, pair: tuple[FileRecord, Path]) -> FileRecord:
        before, path = pair
        now = file_record(path)
        if now[:2] == before[:2]:
            return before
        return file_record(path, self._limit)

    def has_image(self, old: StoredExample, example: Example) -> bool:
        """Return whether the image of an example is the stored one."""
        if not (old.files and example.files):
            return True
        return self._current[old.files[0], example.files[0]].digest == old.files[0].digest

    def is_missing(self, old: StoredExample, example: Example) -> bool:
        """Return whether a file of an example no longer exists."""
        return any(
            self._current[before, path].size < 0 <= before.size
            for before, path in zip(old.files, example.files, strict=False)
        )

    def update(self, old: StoredExample, example: Example) -> StoredExample:
        """Return the example as it is now, and note what changed."""
        records = []
        for position, path in enumerate(example.files):
            name = example.names[min(position, len(example.names) - 1)]
            if position >= len(old.files):  # a file that was added since
                self.changed[name] = None
                records.append(file_record(path, self._limit))
                continue
            before, now = old.files[position], self._current[old.files[position], path]
            records.append(now)
            if now.digest != before.digest:
                self.changed[name] = None
                if position == 0:
                    self.changed_images.add(old.key)
            elif now.mtime_ns != before.mtime_ns and now.size > self._limit:
                self.sampled[name] = None
        if len(example.files) < len(old.files) or example.digest != old.digest:
            self.changed[example.names[0]] = None
        if len(old.box) == 1 and example.digest != old.digest:
            self.moved_rows[example.names[0]] = None
        return StoredExample(example.names, example.box, example.digest, tuple(records))


def as_stored(examples: Sequence[Example], stored: StoredSet) -> list[StoredExample]:
    """Return examples with records of their images, hashed like those of a stored dataset.

    Images that differ in size from all training images are not read.
    """
    images = [example.files[0] for example in examples if example.files]
    records = file_records(images)
    sizes = {example.files[0].size for example in stored.parts["train"] if example.files}
    likely = (path for path, record in records.items() if record.size in sizes)
    records |= file_records(likely, stored.limit)
    return [
        StoredExample(e.names, e.box, e.digest, tuple(records[file] for file in e.files[:1]))
        for e in examples
    ]


def find_trained_on(
    scored: Sequence[StoredExample], stored: StoredSet, same_records: bool = False
) -> list[str]:
    """Return the titles of the examples whose image, or a part of it, was trained on.

    Names do not count: a copy under another name is the same image, and another image may have the
    name of a training image.

    Args:
        scored: The examples, hashed like those of `stored`.
        stored: A dataset of the run.
        same_records: Whether records of one name are the same, whatever the contents of their
            file: for a dataset that is read from where the run read it.
    """

    def image_of(example: StoredExample) -> object:
        is_record = len(example.box) == 1
        return example.names if same_records and is_record else _image_of(example)

    boxes: dict[object, list[Box]] = defaultdict(list)
    for example in stored.parts["train"]:
        boxes[image_of(example)].append(example.box)
    parts = {image: _Parts(spans if all(spans) else [()]) for image, spans in boxes.items()}
    return [
        example.title
        for example in scored
        if image_of(example) in parts and parts[image_of(example)].overlap(example.box)
    ]


class _Parts:
    """Parts of an image, grouped by their span of the first axis, then of the next.

    A raster has thousands of parts.

    Args:
        boxes: The parts; () is all of the image.
    """

    def __init__(self, boxes: Sequence[Box]):
        spans: dict[tuple[int, int], list[Box]] = defaultdict(list)
        for box in boxes:
            if box:
                spans[box[0]].append(box[1:])
        self._spans = np.asarray(list(spans), np.int64).reshape(-1, 2)
        self._rest = [_Parts(rest) for rest in spans.values()]

    def overlap(self, box: Box) -> bool:
        """Return whether one of these parts overlaps `box`."""
        if not box or not self._rest:
            return True
        start, stop = box[0]
        hits = np.flatnonzero((start < self._spans[:, 1]) & (self._spans[:, 0] < stop))
        return any(self._rest[hit].overlap(box[1:]) for hit in hits)


def _image_of(example: StoredExample) -> object:
    """Return an identity of the image file's contents; the names if the image has no file."""
    if not example.files:
        return example.names
    record: FileRecord = example.files[0]
    return (record.size, record.digest) if record.digest else (example.names, record)
