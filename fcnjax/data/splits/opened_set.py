"""Opening of the datasets of a run: divided for a new run, or as its workdir stores them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.layout import PARTS
from fcnjax.data.loading.skipping import MIN_FAILED, skips_unreadable
from fcnjax.data.source import ConcatenatedSource, StoredSource
from fcnjax.data.sources import SOURCES
from fcnjax.data.splits.example import Example
from fcnjax.data.splits.matching import Match, find_keys, match
from fcnjax.data.splits.stored_split import StoredExample, StoredSet
from fcnjax.errors import UserError, join_names
from fcnjax.io.atomic_files import stamps

UNDIVIDED = {"split.folds": 0, "split.group_by": ""}


@dataclass(frozen=True)
class OpenedSet:
    """A dataset, opened.

    Attributes:
        spec: As in `StoredSet`.
        config: Its resolved config.
        sources: Source of each part as stored; `new` has the images that are not in the stored
            split.
        stored: The dataset as stored in a workdir, brought up to date; None for a new run.
        match: The current places of its examples; None for a new run.
        new: The images that are not in the stored split.
    """

    spec: str
    config: ConfigDict
    sources: Mapping[str, StoredSource]
    stored: StoredSet | None = None
    match: Match | None = None
    new: Sequence[str] = ()


def reopen(
    config: ConfigDict,
    stored: StoredSet,
    parts: Sequence[str] = PARTS,
    may_miss: bool = False,
) -> OpenedSet:
    """Open parts of a dataset with the examples and the order of a stored split.

    Args:
        config: Its resolved config, which may name another place.
        stored: The split.
        parts: The parts to read.
        may_miss: Whether examples may be missing (reading them fails), even if
            `config.data.loading.on_error` does not allow it.

    Raises:
        UserError: The dataset cannot be opened, or an example is missing.
    """
    parts = [part for part in parts if part in stored.parts]
    required = [example for part in parts for example in stored.parts[part]]
    sources, first = _open_all(config, required)
    examples = [example for source in sources for example in source.examples()]
    matched = match(stored, parts, examples)
    if not (may_miss or _may_skip(config.data, len(matched.missing), len(required))):
        raise UserError(
            f"{config.data.root or stored.root}: {len(matched.missing)} of the {len(required)} "
            f"examples of the run's split are missing: {join_names(matched.missing)}; put "
            "them back, leave them out by --config.data.loading.on_error=skip (up to "
            "config.data.loading.skip_most), or start a new run in another workdir"
        )
    if matched.moved_rows and not may_miss:
        raise UserError(
            f"{config.data.root or stored.root}: the rows of the set are not those that the run "
            f"began with ({join_names(matched.moved_rows)} differ), and its split goes by their "
            "numbers; give the set as it was, or start a new run in another workdir"
        )
    known = {examples[position].names[0] for position in matched.places.values()}
    new = [position for position in range(first) if examples[position].names[0] not in known]
    new.sort(key=lambda position: examples[position].names)
    opened = _open_parts(sources, {part: stored.parts[part] for part in parts}, matched)
    if new:
        opened["new"] = SelectedSource(sources, new, {})
    updated = {
        part: tuple(matched.updated.get(old.key, old) for old in each)
        for part, each in stored.parts.items()
    }
    return OpenedSet(
        stored.spec,
        config,
        opened,
        replace(stored, data=config.data, parts=updated),
        matched,
        list(dict.fromkeys(examples[position].names[0] for position in new)),
    )


def _may_skip(data: ConfigDict, missing: int, count: int) -> bool:
    """Return whether so many missing examples may be skipped, like unreadable ones."""
    is_few = missing < MIN_FAILED or missing <= data.loading.skip_most * count
    return not missing or (skips_unreadable(data) and is_few)


def _open_parts(
    sources: Sequence[StoredSource],
    parts: Mapping[str, Sequence[StoredExample]],
    matched: Match,
) -> dict[str, StoredSource]:
    """Return a source of each part with its stored examples, selected from all sources."""
    opened, start = {}, 0
    rows = {part: [matched.places.get(old.key, -1) for old in each] for part, each in parts.items()}
    for part, source in zip(PARTS, sources, strict=False):
        if rows.get(part) == list(range(start, start + len(source))):
            opened[part] = source  # nothing to select, so a cache of the source can be used
        start += len(source)
    for part, examples in parts.items():
        missing = {row: old.title for row, old in enumerate(examples) if rows[part][row] < 0}
        opened.setdefault(part, SelectedSource(sources, rows[part], missing))
    return opened


def _open_all(
    config: ConfigDict, required: Sequence[StoredExample]
) -> tuple[list[StoredSource], int]:
    """Open both parts of a dataset, also divided in other ways if examples are missing.

    The part in which an example is now does not matter; but a changed list, or a second raster
    where one was divided, leaves some out.

    Returns:
        The sources, `train` and `eval` first, and the number of examples of these two.

    Raises:
        UserError: The dataset cannot be opened in any way.
    """
    sources: list[StoredSource] = []
    examples: list = []
    first, error = 0, None
    for changes in _divisions(config):
        other = config.copy_and_resolve_references()
        other.data.update_from_flattened_dict(changes)
        try:
            opened = [SOURCES[config.data.source].open(other, part) for part in PARTS]
            more = [example for source in opened for example in source.examples()]
        except UserError as failed:
            error = error or failed
            continue
        first = first or len(more)
        sources += opened
        examples += more
        if len(find_keys(required, examples)) == len({old.key for old in required}):
            break
    if not sources:
        raise error
    return sources, first


def _divisions(config: ConfigDict) -> Iterator[dict[str, Any]]:
    yield {}
    if SOURCES[config.data.source].can_split:
        yield UNDIVIDED
        for method in ("fraction", "list", "folder", "blocks", "windows"):
            yield {**UNDIVIDED, "split.by": method}


def describe_new_images(opened: OpenedSet, consequence: str) -> list[str]:
    """Return a line on images added since the run began, or no line.

    Args:
        opened: The dataset.
        consequence: Follows their number: `are not used: ...`.
    """
    if not opened.new:
        return []
    noun = "images" if len(opened.new) > 1 else "image"
    return [
        f"{opened.stored.root}: has changed since the run began: {len(opened.new)} new {noun} "
        f"({join_names(opened.new)}) {consequence}"
    ]


def describe_changes(opened: OpenedSet, consequence: str) -> list[str]:
    """Return lines on how a dataset differs from when the run began.

    Args:
        opened: The dataset.
        consequence: As in `describe_new_images`.
    """
    root, matched = opened.stored.root, opened.match
    lines = describe_new_images(opened, consequence)
    if matched.renamed:
        pairs = join_names(f"{before} is {now}" for before, now in matched.renamed)
        lines.append(f"{root}: found under another name, with the same contents: {pairs}")
    if matched.changed:
        lines.append(
            f"{root}: the contents of {len(matched.changed)} of the run's files changed since it "
            f"began ({join_names(matched.changed)}): they are read as they are now"
        )
    if matched.sampled:
        lines.append(
            f"{root}: {len(matched.sampled)} large files were written again since the run began "
            f"({join_names(matched.sampled)}); samples of their contents are the same"
        )
    if matched.missing:
        lines.append(
            f"warning: {root}: {len(matched.missing)} examples of the run's split are missing and "
            f"are skipped: {join_names(matched.missing)}"
        )
    return lines


class SelectedSource(ConcatenatedSource):
    """A source of selected examples of several sources.

    Args:
        sources: The sources, one or more.
        rows: Index of each example among those of all sources, one source after the other; -1 for
            a missing example.
        missing: Title of each missing example, by its index in `rows`.
    """

    def __init__(
        self, sources: Sequence[StoredSource], rows: Sequence[int], missing: Mapping[int, str]
    ):
        super().__init__(sources)
        self._rows = np.asarray(rows, np.int64)
        self._missing = dict(missing)

    def __len__(self) -> int:
        return len(self._rows)

    def _locate(self, index: int) -> tuple[StoredSource, int]:
        # IndexError ends a Python loop over a source.
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self._missing:
            raise UserError(f"{self._missing[index]}: is missing")
        return super()._locate(int(self._rows[index]))

    def examples(self) -> list[Example]:
        """Return the identity of each example."""
        every = [example for source in self._sources for example in source.examples()]
        return [
            Example((self._missing[position],), ()) if position in self._missing else every[row]
            for position, row in enumerate(self._rows.tolist())
        ]

    def stamps(self) -> list[tuple]:
        """Return the stamps of the files of the examples, and the identity of their parts."""
        examples = self.examples()
        files = dict.fromkeys(file for example in examples for file in example.files)
        return [*stamps(files), *((e.names, e.box, e.digest) for e in examples)]
