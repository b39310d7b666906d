"""Reads a data set, and gathers what is wrong with it."""

import collections
import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import track

from fcnjax.data import SOURCES, Source, open_plain, resolve
from fcnjax.data.labels.classes import evenly
from fcnjax.data.labels.mask_exif import choose_rule, find_untagged_masks
from fcnjax.data.layout import PARTS
from fcnjax.data.pairs import Pair
from fcnjax.data.settings import check_settings
from fcnjax.data.sources.listing import divide_list
from fcnjax.data.sources.samples import SAMPLES
from fcnjax.data.splits.folders import divide
from fcnjax.errors import UserError, choose
from fcnjax.validate.checks.copies import NEAR, copies
from fcnjax.validate.checks.encodings import diagnose
from fcnjax.validate.checks.mask_alignment import unfit
from fcnjax.validate.checks.names import pairs_by_name
from fcnjax.validate.checks.orientations import several_orientations
from fcnjax.validate.checks.pixel_types import clipped_pixels, several_types
from fcnjax.validate.examples import MISMATCH, UNREADABLE, UNUSABLE, Look, Looker
from fcnjax.validate.findings import (
    ERROR,
    NOTE,
    WARNING,
    Finding,
    by_severity,
    override_words,
    some,
)
from fcnjax.validate.statistics import DatasetStatistics, of_classes, suggestions
from fcnjax.validate.stored import StoredTally

UNOPENED = "cannot be opened"
QUICK, QUICK_S = 64, 4.0  # examples of a split, and seconds, that the quick check takes at most


@dataclasses.dataclass(frozen=True)
class Checked:
    """A data set that was checked.

    Attributes:
        findings: The worst first.
        config: The resolved config; as it was given where `resolve` failed.
        resolved: Whether it did not.
        tallies: Numbers of `train` and `eval`.
    """

    findings: list[Finding]
    config: ConfigDict
    resolved: bool
    tallies: dict[str, DatasetStatistics]


def quick_check(config: ConfigDict) -> list[Finding]:
    """Looks at no more than `QUICK` examples of each split, for no more than a few seconds.

    Args:
        config: The config as the user gave it, or resolved, which spares looking for the classes.

    Returns:
        The findings, the worst first; without suggestions, which ask for all examples.

    Raises:
        UserError: There is no data there to look at.
    """
    return check(config, most=QUICK, seconds=QUICK_S).findings


def check(
    config: ConfigDict, most: int | None = None, seconds: float | None = None, show: bool = False
) -> Checked:
    """Reads the examples of both splits.

    Args:
        config: The config as the user gave it.
        most: Examples of each split that are read, evenly spaced; None reads all.
        seconds: Time for reading, after which the rest is left out.
        show: Whether to draw a progress bar on the terminal.

    Raises:
        UserError: There is no data there to look at: an unknown source, no such folder, or a value
            of `config.data` that cannot be.
    """
    choose(SOURCES, config.data.source, "config.data.source")
    check_settings(config)
    root = config.data.root
    if config.data.source == "folder" and not (root and Path(root).is_dir()):
        raise UserError(f"config.data.root: {root!r} is not a folder")
    resolved, notes, sources, findings = _open(config)
    known = resolved or config
    pairs, found = _pairs_of(known.data)
    findings += found
    looks: list[Look] = []
    stored = StoredTally()
    for part in PARTS:
        if sources[part] is None and pairs is None:
            continue
        looker = Looker(part, known.data, sources[part], pairs and pairs[part])
        for look in _read(looker, part, most, seconds and seconds / len(PARTS), show):
            if look.stored:
                stored.add(look.stored)
            # Added up, it need not be kept for each of many thousands.
            looks.append(dataclasses.replace(look, stored=None))
    whole = most is None and seconds is None
    if whole:  # a run prints them itself
        findings += [Finding(NOTE, "data", note) for note in notes[1:]]
    one_split = known.data.train_split == known.data.eval_split
    # Under skip a run goes on without them, up to a share.
    severity = WARNING if known.data.on_error == "skip" else ERROR
    types = several_types(looks, config.data.pixel_type)
    findings = [finding for finding in findings if not _is_repeated(finding, looks, types)]
    findings += _faults(looks, severity) + types + copies(looks, one_split) + unfit(looks)
    findings += clipped_pixels(looks, config) + _turned(config, sources, pairs)
    if stored.files:
        findings += diagnose(stored, config, resolved)
    classes = len(known.data.class_names) if resolved else 0
    tallies = {
        p: DatasetStatistics([look for look in looks if look.part == p], classes) for p in PARTS
    }
    if resolved:
        findings += several_orientations(sources, resolved.data.orientation)
        findings += of_classes(tallies, resolved, whole)
    if whole:
        findings += suggestions(tallies["train"], config, known)
    if known.data.source in SAMPLES:
        findings = [_of_a_sample(finding) for finding in findings]
    return Checked(by_severity(findings), known, resolved is not None, tallies)


def _is_repeated(finding: Finding, looks: Sequence[Look], types: Sequence[Finding]) -> bool:
    """Return whether the reason why a set could not be opened is found among its examples too."""
    if finding.kind != UNOPENED:
        return False
    if types and finding.text.startswith("config.data.pixel_type:"):
        return True
    return any(look.fault and look.fault[1] == finding.text for look in looks)


def dataset_statistics(config: ConfigDict, part: str) -> DatasetStatistics:
    """The numbers of all labels of a split of a resolved config.

    Raises:
        UserError: An example cannot be read, under `config.data.on_error=raise`.
    """
    looker = Looker(part, config.data, open_plain(config, part), None)
    looks = list(_in_threads(looker, range(len(looker)), None))
    fault = next((look.fault[1] for look in looks if look.fault), None)
    if fault and config.data.on_error == "raise":
        raise UserError(fault)
    return DatasetStatistics(looks, len(config.data.class_names))


def _open(
    config: ConfigDict,
) -> tuple[ConfigDict | None, list[str], dict[str, Source | None], list[Finding]]:
    """The resolved config, notes and the source of each split; None, and why, where that fails.

    Where it would not under `on_error=skip`, or with the pixel type that all others are exact in,
    both are there nevertheless.
    """
    findings = []
    asked = (config.data.on_error, config.data.pixel_type)
    for on_error, pixel_type in dict.fromkeys((asked, ("skip", asked[1]), ("skip", "float32"))):
        tried = config.copy_and_resolve_references()
        tried.data.on_error, tried.data.pixel_type = on_error, pixel_type
        try:
            resolved, notes = resolve(tried)
            # As they are stored: a mixture's other sets have configs of their own.
            sources = {part: open_plain(resolved, part) for part in PARTS}
        except UserError as error:
            findings = findings or [Finding(ERROR, UNOPENED, str(error))]
        else:
            resolved.data.on_error = config.data.on_error
            if pixel_type != asked[1]:
                resolved.data.pixel_type = asked[1]
            return resolved, notes, sources, findings
    return None, [], dict.fromkeys(PARTS), findings


def _turned(
    asked: ConfigDict,
    sources: Mapping[str, Source | None],
    pairs: Mapping[str, Sequence[Pair]] | None,
) -> list[Finding]:
    """A finding on images with an EXIF orientation that their masks lack."""
    if asked.data.mask_exif != "auto":
        return []
    found: list[Pair] = []
    for part in PARTS:
        found += pairs[part] if pairs else getattr(sources[part], "pairs", [])
    turned = find_untagged_masks(found)
    if not turned:
        return []
    rule, text = choose_rule(turned)
    unclear = any(one.frame is None for one in turned)
    words = override_words(asked, {"data.mask_exif": rule})
    return [Finding(WARNING if unclear else NOTE, "EXIF orientation", text, words)]


def _of_a_sample(finding: Finding) -> Finding:
    """A set that is known, and its split, are what they are: nobody is warned of them."""
    if finding.severity == WARNING and finding.kind in ("empty class", NEAR):
        return dataclasses.replace(finding, severity=NOTE)
    return finding


def _pairs_of(
    data: ConfigDict,
) -> tuple[Mapping[str, Sequence[Pair]] | None, list[Finding]]:
    """The files of a `folder` or `listing`, by split; those that are there where some are not."""
    if data.source == "listing":
        with contextlib.suppress(UserError):  # was told of by opening it
            pairs = divide_list(data)
            there = {part: [p for p in pairs[part] if all(map(Path.is_file, p))] for part in PARTS}
            return there, []
    if data.source != "folder":
        return None, []
    try:
        return divide(data), []
    except UserError:
        return pairs_by_name(data)


def _read(
    looker: Looker, part: str, most: int | None, seconds: float | None, show: bool
) -> Iterable[Look]:
    rows = list(range(len(looker)))
    rows = evenly(rows, most) if most and rows else rows
    until = time.monotonic() + seconds if seconds else None
    return track(
        _in_threads(looker, rows, until),
        description=part,
        total=len(rows),
        console=Console(stderr=True),
        transient=True,
        disable=not show,
    )


def _in_threads(looker: Looker, rows: Sequence[int], until: float | None) -> Iterator[Look]:
    """The looks at the rows in order; ends early at the time `until`.

    Few are on their way at once: an image is large, and what is kept of it is small.
    """
    threads = min(os.cpu_count() or 1, 16)
    waiting: collections.deque = collections.deque()
    with ThreadPoolExecutor(threads) as pool:
        for row in rows:
            if until and time.monotonic() > until:
                break
            waiting.append(pool.submit(looker, row))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _faults(looks: Sequence[Look], severity: str) -> list[Finding]:
    findings = []
    for kind in (UNREADABLE, MISMATCH, UNUSABLE):
        texts = [look.fault[1] for look in looks if look.fault and look.fault[0] == kind]
        if texts:
            text = f"{len(texts)} of {len(looks)} examples: {some(texts)}"
            findings.append(Finding(severity, kind, text))
    return findings
