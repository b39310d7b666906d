"""Checks for images that occur twice, within a split or in both."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from fcnjax.data.labels.classes import evenly
from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.example_summary import ExampleSummary
from fcnjax.validate.findings import ERROR, WARNING, Finding, abbreviate

NEAR_DUPLICATES = "near duplicates"
MAX_COMPARED = 20_000  # examples of a split that are compared with those of the other
ROWS_AT_ONCE = 16  # of the table of distances
MAX_BITS = 5  # of 64 by which the hashes of near duplicates differ
MAX_LEVELS = 4.0  # mean difference of the thumbnails of near duplicates, in grey levels
MIN_EQUAL_MASKS = 3  # fewer equal masks may be chance

_BIT_COUNTS = np.asarray([bin(value).count("1") for value in range(2**16)], np.uint8)


def check_duplicates(dataset: DatasetSummary) -> list[Finding]:
    """Report images with the same pixels, equal masks, and near duplicates over both splits."""
    # A config that names one split for both does so on purpose.
    one_split = dataset.data.split.train == dataset.data.split.eval
    by_pixels: dict[bytes, list[ExampleSummary]] = defaultdict(list)
    for example in dataset.examples:
        if example.pixels:
            by_pixels[example.pixels].append(example)
    groups = [group for group in by_pixels.values() if len(group) > 1]
    leaks = [group for group in groups if len({each.part for each in group}) > 1]
    repeated = [group for group in groups if len({each.part for each in group}) == 1]
    contradicting = [g for g in groups if len({each.labels for each in g if each.labels}) > 1]
    findings = []
    if leaks:
        text = (
            f"{len(leaks)} images are in train and in eval, pixel by pixel, which inflates the "
            f"score: {_name_groups(leaks)}"
        )
        findings.append(Finding(WARNING if one_split else ERROR, "leak", text))
    if repeated:
        text = f"{len(repeated)} images occur twice or more in a split: {_name_groups(repeated)}"
        findings.append(Finding(WARNING, "duplicates", text))
    if contradicting:
        text = (
            f"{len(contradicting)} images occur twice with different labels: "
            f"{_name_groups(contradicting)}"
        )
        findings.append(Finding(WARNING, "contradicting labels", text))
    findings += _equal_masks(dataset.examples)
    return findings if one_split else findings + _near_duplicates(dataset.examples)


def _name_groups(groups: Sequence[Sequence[ExampleSummary]]) -> str:
    return abbreviate([" = ".join(example.name for example in group[:2]) for group in groups])


def _equal_masks(examples: Sequence[ExampleSummary]) -> list[Finding]:
    """Report that most masks are the same, though their images differ."""
    labelled = (e for e in examples if e.counts is not None and (e.counts > 0).sum() > 1)
    different = {example.pixels: example for example in labelled}.values()
    (labels, count), *_ = Counter(e.labels for e in different).most_common(1) or [(b"", 0)]
    if count < MIN_EQUAL_MASKS or count <= len(different) / 2:
        return []
    names = [example.name for example in different if example.labels == labels]
    text = (
        f"{count} of {len(different)} images have the same mask, pixel by pixel, as if one file "
        f"was written again and again: {abbreviate(names)}"
    )
    return [Finding(WARNING, "equal masks", text)]


def _near_duplicates(examples: Sequence[ExampleSummary]) -> list[Finding]:
    """Report images of eval that nearly equal one of train."""
    by_part = []
    for part in ("train", "eval"):
        with_thumb = [each for each in examples if each.part == part and each.thumb]
        by_part.append(evenly(with_thumb, MAX_COMPARED) if with_thumb else [])
    pairs = {b.name: a.name for a, b in find_near_pairs(*by_part)}
    if not pairs:
        return []
    names = abbreviate([f"{a} ~ {b}" for b, a in pairs.items()])
    text = (
        f"{len(pairs)} images of eval nearly equal one of train, such as the next frame of a film, "
        f"the next slice of a volume, or a scaled or compressed copy: {names}"
    )
    return [Finding(WARNING, NEAR_DUPLICATES, text)]


def find_near_pairs(
    train: Sequence[ExampleSummary], evaluated: Sequence[ExampleSummary]
) -> list[tuple[ExampleSummary, ExampleSummary]]:
    """Return the pairs of examples whose images are nearly, but not exactly, the same."""
    if not train or not evaluated:
        return []
    train_hashes = np.asarray([example.dhash for example in train], np.uint64)
    eval_hashes = np.asarray([example.dhash for example in evaluated], np.uint64)
    pairs = []
    for start in range(0, len(eval_hashes), ROWS_AT_ONCE):
        rows = eval_hashes[start : start + ROWS_AT_ONCE]
        words = (rows[:, None] ^ train_hashes[None]).view(np.uint16)
        distances = _BIT_COUNTS[words].reshape(-1, len(train_hashes), 4).sum(-1)
        for row, column in np.argwhere(distances <= MAX_BITS):
            one, other = train[column], evaluated[start + row]
            if one.pixels != other.pixels and _thumbs_match(one, other):
                pairs.append((one, other))
    return pairs


def _thumbs_match(one: ExampleSummary, other: ExampleSummary) -> bool:
    a, b = (np.frombuffer(each.thumb, np.uint8).astype(np.float32) for each in (one, other))
    # The mean is removed, since another exposure does not make another picture.
    return float(np.abs((a - a.mean()) - (b - b.mean())).mean()) < MAX_LEVELS
