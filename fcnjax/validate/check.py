"""Checks of a dataset: reading it, and running every check on what was read."""

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data import SOURCES, Source, open_stored, resolve
from fcnjax.data.labels.classes import evenly
from fcnjax.data.layout import PARTS
from fcnjax.data.settings import check_settings
from fcnjax.data.sources.listing import split_list
from fcnjax.data.sources.samples import SAMPLES
from fcnjax.data.splits.folders import divide
from fcnjax.errors import UserError, choose
from fcnjax.io.prefetch import prefetch
from fcnjax.io.progress import track
from fcnjax.validate.checks import CHECKS
from fcnjax.validate.checks.comparisons import NEAR_DUPLICATES
from fcnjax.validate.checks.examples import PIXEL_TYPES
from fcnjax.validate.checks.mask_names import pair_by_affix
from fcnjax.validate.example_summary import ExampleReader, ExampleSummary
from fcnjax.validate.findings import ERROR, NOTE, SEVERITIES, WARNING, Finding
from fcnjax.validate.masks import MaskStatistics
from fcnjax.validate.statistics import DatasetStatistics, DatasetSummary, Pairs

CANNOT_OPEN = "cannot be opened"
# The quick check reads at most so many examples of a split, for at most so many seconds.
QUICK_EXAMPLES, QUICK_SECONDS = 64, 4.0


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result of a dataset check.

    Attributes:
        findings: The most severe first.
        config: The resolved config, or the config as given if `resolve` failed.
        is_resolved: False if `resolve` failed.
        statistics: Statistics of `train` and `eval`.
    """

    findings: list[Finding]
    config: ConfigDict
    is_resolved: bool
    statistics: dict[str, DatasetStatistics]


def quick_check(config: ConfigDict) -> list[Finding]:
    """Check at most `QUICK_EXAMPLES` examples of each split within a few seconds.

    Args:
        config: The config as the user gave it, or resolved, which saves finding the classes.

    Returns:
        The findings, the most severe first, without suggestions, which need all examples.

    Raises:
        UserError: There is no data to check.
    """
    return check(config, max_examples=QUICK_EXAMPLES, seconds=QUICK_SECONDS).findings


def check(
    config: ConfigDict,
    max_examples: int | None = None,
    seconds: float | None = None,
    show_progress: bool = False,
) -> CheckResult:
    """Check the examples of both splits.

    Args:
        config: The config as the user gave it.
        max_examples: Number of examples of each split to read, evenly spaced; None reads all.
        seconds: Time limit for reading, after which the rest is skipped.
        show_progress: Draw a progress bar on the terminal.

    Raises:
        UserError: There is no data to check: an unknown source, a missing folder, or an invalid
            value of `config.data`.
    """
    choose(SOURCES, config.data.source, "config.data.source")
    check_settings(config)
    root = config.data.root
    if config.data.source == "folder" and not (root and Path(root).is_dir()):
        raise UserError(f"config.data.root: {root!r} is not a folder")
    resolved, notes, sources, findings = _open(config)
    data = (resolved or config).data
    pairs, name_findings = _find_pairs(data)
    findings += name_findings
    is_complete = max_examples is None and seconds is None
    if is_complete:  # a training run prints the notes itself
        findings += [Finding(NOTE, "data", note) for note in notes[1:]]
    examples: list[ExampleSummary] = []
    masks = MaskStatistics()
    for part in PARTS:
        if sources[part] is None and pairs is None:
            continue
        reader = ExampleReader(part, data, sources[part], pairs and pairs[part])
        limit = seconds and seconds / len(PARTS)
        for example in _read(reader, part, max_examples, limit, show_progress):
            if example.mask:
                masks.add(example.mask)
            # Once added up, the mask summaries need not be kept for many thousands of examples.
            examples.append(dataclasses.replace(example, mask=None))
    num_classes = len(data.class_names) if resolved else 0
    statistics = {
        part: DatasetStatistics([each for each in examples if each.part == part], num_classes)
        for part in PARTS
    }
    dataset = DatasetSummary(
        config, resolved, sources, pairs, examples, masks, statistics, is_complete
    )
    results = [finding for run_check in CHECKS for finding in run_check(dataset)]
    findings = [each for each in findings if not _is_repeated(each, examples, results)] + results
    if data.source in SAMPLES:
        findings = [_soften_for_sample(finding) for finding in findings]
    findings = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    return CheckResult(findings, resolved or config, resolved is not None, statistics)


def dataset_statistics(config: ConfigDict, part: str) -> DatasetStatistics:
    """Return the statistics of all labels of a split of a resolved config.

    Raises:
        UserError: An example cannot be read and `config.data.loading.on_error` is `raise`.
    """
    reader = ExampleReader(part, config.data, open_stored(config, part), None)
    examples = list(_read_in_threads(reader, range(len(reader)), None))
    fault = next((example.fault[1] for example in examples if example.fault), None)
    if fault and config.data.loading.on_error == "raise":
        raise UserError(fault)
    return DatasetStatistics(examples, len(config.data.class_names))


def _open(
    config: ConfigDict,
) -> tuple[ConfigDict | None, list[str], dict[str, Source | None], list[Finding]]:
    """Resolve the config and open the source of each split.

    If that fails, it is tried again with `on_error=skip`, and then with the pixel type float32,
    which holds the values of all others exactly, so that the examples can still be checked.

    Returns:
        The resolved config, its notes, the sources and findings; config and sources are None if
        every attempt failed.
    """
    findings = []
    data = config.data
    for on_error, pixel_type in dict.fromkeys(
        ((data.loading.on_error, data.pixel_type), ("skip", data.pixel_type), ("skip", "float32"))
    ):
        attempt = config.copy_and_resolve_references()
        attempt.data.loading.on_error, attempt.data.pixel_type = on_error, pixel_type
        try:
            resolved, notes = resolve(attempt)
            # Opened as stored: the other datasets of a mixture have configs of their own.
            sources = {part: open_stored(resolved, part) for part in PARTS}
        except UserError as error:
            findings = findings or [Finding(ERROR, CANNOT_OPEN, str(error))]
        else:
            resolved.data.loading.on_error = data.loading.on_error
            if pixel_type != data.pixel_type:
                resolved.data.pixel_type = data.pixel_type
            return resolved, notes, sources, findings
    return None, [], dict.fromkeys(PARTS), findings


def _find_pairs(data: ConfigDict) -> tuple[Pairs | None, list[Finding]]:
    """Return the files of a `folder` or `listing` by split, without those that are missing."""
    if data.source == "listing":
        with contextlib.suppress(UserError):  # reported when the source was opened
            pairs = split_list(data)
            return {
                part: [p for p in pairs[part] if all(map(Path.is_file, p))] for part in PARTS
            }, []
    if data.source != "folder":
        return None, []
    try:
        return divide(data), []
    except UserError:
        return pair_by_affix(data)


def _is_repeated(
    finding: Finding, examples: Sequence[ExampleSummary], results: Sequence[Finding]
) -> bool:
    """Return whether a check reports the reason why a dataset could not be opened."""
    if finding.kind != CANNOT_OPEN:
        return False
    is_about_type = finding.text.startswith("config.data.pixel_type:")
    if is_about_type and any(result.kind == PIXEL_TYPES for result in results):
        return True
    return any(example.fault and example.fault[1] == finding.text for example in examples)


def _soften_for_sample(finding: Finding) -> Finding:
    """Make a warning a note where a sample dataset and its split are known to be that way."""
    if finding.severity == WARNING and finding.kind in ("empty class", NEAR_DUPLICATES):
        return dataclasses.replace(finding, severity=NOTE)
    return finding


def _read(
    reader: ExampleReader,
    part: str,
    max_examples: int | None,
    seconds: float | None,
    show_progress: bool,
) -> Iterable[ExampleSummary]:
    rows = range(len(reader))
    rows = evenly(rows, max_examples) if max_examples else rows
    deadline = time.monotonic() + seconds if seconds else None
    summaries = _read_in_threads(reader, rows, deadline)
    return track(summaries, part, len(rows), show=show_progress, to_stderr=True)


def _read_in_threads(
    reader: ExampleReader, rows: Sequence[int], deadline: float | None
) -> Iterator[ExampleSummary]:
    """Return the summaries of the rows in order, until the deadline."""
    in_time = itertools.takewhile(lambda _: not deadline or time.monotonic() <= deadline, rows)
    threads = min(os.cpu_count() or 1, 16)
    # Few images are in memory at once, as an image is large and its summary small.
    return prefetch(reader, in_time, threads=threads, ahead=2 * threads)
