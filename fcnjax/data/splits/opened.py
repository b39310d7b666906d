"""The sets of a run, opened: divided for a new run, or as its workdir keeps them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml_collections import ConfigDict

from fcnjax.data.layout import PARTS
from fcnjax.data.loading.skipping import MIN_FAILED, skips_unreadable
from fcnjax.data.source import StoredSource
from fcnjax.data.sources import SOURCES
from fcnjax.data.splits.matching import Match, find_keys, match
from fcnjax.data.splits.selected import Selected
from fcnjax.data.splits.stored_split import StoredExample, StoredSet, listed
from fcnjax.errors import UserError

UNDIVIDED = {"split.folds": 0, "split.group_by": ""}


@dataclass(frozen=True)
class OpenedSet:
    """A set of images, opened.

    Attributes:
        spec: As of `StoredSet`.
        config: Its resolved config.
        sources: By part, as they are stored; `new` has the images that are not in the stored split.
        stored: The set as a workdir keeps it, brought up to date; None of a new run.
        match: Where its examples were found; None of a new run.
        new: The images that are there now and not in the stored split.
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
    """Opens parts of a set with the examples and the order of a stored split.

    Args:
        config: Its resolved config, which may name another place.
        stored: The split.
        parts: Those that are read.
        may_miss: Whether examples may be missing, which then cannot be read, even where
            `config.data.loading.on_error` does not allow it.

    Raises:
        UserError: The set cannot be opened, or an example is missing.
    """
    parts = [part for part in parts if part in stored.parts]
    wanted = [example for part in parts for example in stored.parts[part]]
    sources, first = _open_all(config, wanted)
    examples = [example for source in sources for example in source.examples()]
    found = match(stored, parts, examples)
    if not (may_miss or _may_skip(config.data, len(found.missing), len(wanted))):
        raise UserError(
            f"{config.data.root or stored.root}: {len(found.missing)} of the {len(wanted)} "
            f"examples of the run's split are not there any more: {listed(found.missing)}; put "
            "them back, leave them out by --config.data.loading.on_error=skip "
            "(config.data.loading.skip_most is "
            "the most), or start a new run in another workdir"
        )
    if found.moved_rows and not may_miss:
        raise UserError(
            f"{config.data.root or stored.root}: the rows of the set are not those that the run "
            f"began with ({listed(found.moved_rows)} differ), and its split goes by their numbers; "
            "give the set as it was, or start a new run in another workdir"
        )
    opened, start = {}, 0
    known = {examples[place].names[0] for place in found.places.values()}
    new = [place for place in range(first) if examples[place].names[0] not in known]
    new.sort(key=lambda place: examples[place].names)
    if new:
        opened["new"] = Selected(sources, new, {})
    names = dict.fromkeys(examples[place].names[0] for place in new)
    for part, source in zip(PARTS, sources, strict=False):
        rows = range(start, start + len(source))
        start += len(source)
        if part in parts and _rows(stored.parts[part], found) == list(rows):
            opened[part] = source  # nothing to select: a cache of it serves
    for part in parts:
        opened.setdefault(part, _selected(sources, stored.parts[part], found))
    updated = {
        part: tuple(found.updated.get(one.key, one) for one in each)
        for part, each in stored.parts.items()
    }
    now = replace(stored, data=config.data, parts=updated)
    return OpenedSet(stored.spec, config, opened, now, found, list(names))


def _may_skip(data: ConfigDict, missing: int, count: int) -> bool:
    """Return whether so many missing examples may be skipped, as unreadable ones are."""
    return not missing or (
        skips_unreadable(data)
        and (missing < MIN_FAILED or missing <= data.loading.skip_most * count)
    )


def _rows(examples: Sequence[StoredExample], found: Match) -> list[int]:
    return [found.places.get(one.key, -1) for one in examples]


def _selected(
    sources: Sequence[StoredSource], examples: Sequence[StoredExample], found: Match
) -> Selected:
    missing = {
        place: one.title for place, one in enumerate(examples) if one.key not in found.places
    }
    return Selected(sources, _rows(examples, found), missing)


def _open_all(
    config: ConfigDict, wanted: Sequence[StoredExample]
) -> tuple[list[StoredSource], int]:
    """Opens both parts of a set, divided in other ways too where examples are missing.

    Which part an example is in now does not matter; but a list that changed, or a second raster
    where one was divided, leaves some out.

    Returns:
        The sources, `train` and `eval` first, and the number of examples of these two.

    Raises:
        UserError: The set cannot be opened in any way.
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
        if len(find_keys(wanted, examples)) == len({one.key for one in wanted}):
            break
    if not sources:
        raise error
    return sources, first


def _divisions(config: ConfigDict) -> Iterator[dict[str, Any]]:
    yield {}
    if SOURCES[config.data.source].can_split:
        yield UNDIVIDED
        for kind in ("fraction", "list", "folder", "blocks", "windows"):
            yield {**UNDIVIDED, "split.by": kind}


def new_images_line(opened: OpenedSet, consequence: str) -> list[str]:
    """A line on images that came since the run began; none where there are none.

    Args:
        opened: The set.
        consequence: Follows their number: `are not used: ...`.
    """
    if not opened.new:
        return []
    noun = "images" if len(opened.new) > 1 else "image"
    return [
        f"{opened.stored.root}: has changed since the run began: {len(opened.new)} new {noun} "
        f"({listed(opened.new)}) {consequence}"
    ]


def changes_of(opened: OpenedSet, consequence: str) -> list[str]:
    """Lines on how a set differs from what it was when the run began.

    Args:
        opened: The set.
        consequence: As of `new_images_line`.
    """
    root, found, lines = opened.stored.root, opened.match, new_images_line(opened, consequence)
    if found.renamed:
        pairs = listed(f"{before} is {now}" for before, now in found.renamed)
        lines.append(f"{root}: found under another name, with the same contents: {pairs}")
    if found.changed:
        lines.append(
            f"{root}: the contents of {len(found.changed)} of the run's files changed since it "
            f"began ({listed(found.changed)}): they are read as they are now"
        )
    if found.sampled:
        lines.append(
            f"{root}: {len(found.sampled)} large files were written again since the run began "
            f"({listed(found.sampled)}); samples of their contents are the same"
        )
    if found.missing:
        lines.append(
            f"warning: {root}: {len(found.missing)} examples of the run's split are not there any "
            f"more and are skipped: {listed(found.missing)}"
        )
    return lines
