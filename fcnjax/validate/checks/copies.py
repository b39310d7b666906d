"""Finds images that are there twice, within a split and over both."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from fcnjax.data.labels.classes import evenly
from fcnjax.validate.examples import Look
from fcnjax.validate.findings import ERROR, WARNING, Finding, some

MOST_COMPARED = 20_000  # examples of a split that are compared with all of the other
ROWS = 16  # of the table of distances that is made at once
BITS_APART = 5  # of 64: the most of two hashes of one picture
NEAR = "near duplicates"
FEWEST_OF_ONE = 3  # images of one mask, below which it may be by chance
LEVELS_APART = 4.0  # mean difference of two thumbs of one picture, in grey levels

_BITS = np.asarray([bin(value).count("1") for value in range(2**16)], np.uint8)


def copies(looks: Sequence[Look], one_split: bool = False) -> list[Finding]:
    """Findings on the same pixels in both splits or twice in one, and on nearly the same.

    Args:
        looks: Those of both splits.
        one_split: Whether the config names one split for both, and so means what it says.
    """
    same: dict[bytes, list[Look]] = defaultdict(list)
    for look in looks:
        if look.pixels:
            same[look.pixels].append(look)
    groups = [group for group in same.values() if len(group) > 1]
    leaks = [g for g in groups if len({look.part for look in g}) > 1]
    twice = [g for g in groups if len({look.part for look in g}) == 1]
    torn = [g for g in groups if len({look.labels for look in g if look.labels}) > 1]
    findings = []
    if leaks:
        text = (
            f"{len(leaks)} images are in train and in eval, pixel by pixel, and the score will "
            f"flatter: {_named(leaks)}"
        )
        findings.append(Finding(WARNING if one_split else ERROR, "leak", text))
    if twice:
        text = f"{len(twice)} images are there twice or more in a split: {_named(twice)}"
        findings.append(Finding(WARNING, "duplicates", text))
    if torn:
        text = f"{len(torn)} images are there twice with different labels: {_named(torn)}"
        findings.append(Finding(WARNING, "contradicting labels", text))
    findings += _one_mask(looks)
    return findings if one_split else findings + _near(looks)


def _one_mask(looks: Sequence[Look]) -> list[Finding]:
    """A finding where most masks are the same one, though their images differ."""
    told = [look for look in looks if look.counts is not None and (look.counts > 0).sum() > 1]
    by_pixels = {look.pixels: look for look in told}.values()
    (labels, count), *_ = Counter(look.labels for look in by_pixels).most_common(1) or [(b"", 0)]
    if count < FEWEST_OF_ONE or count <= len(by_pixels) / 2:
        return []
    names = [look.name for look in by_pixels if look.labels == labels]
    text = (
        f"{count} of {len(by_pixels)} images have the same mask, pixel by pixel, as where one file "
        f"was written again and again: {some(names)}"
    )
    return [Finding(WARNING, "equal masks", text)]


def _named(groups: Sequence[Sequence[Look]]) -> str:
    return some([" = ".join(look.name for look in group[:2]) for group in groups])


def _near(looks: Sequence[Look]) -> list[Finding]:
    train, evaluated = (
        evenly(found, MOST_COMPARED) if found else []
        for part in ("train", "eval")
        for found in [[look for look in looks if look.part == part and look.thumb]]
    )
    pairs = {b.name: a.name for a, b in near_pairs(train, evaluated)}
    if not pairs:
        return []
    text = (
        f"{len(pairs)} images of eval are nearly as one of train, as the next frame of a film or "
        "slice of a volume is, or a copy that was scaled or compressed: "
        + some([f"{a} ~ {b}" for b, a in pairs.items()])
    )
    return [Finding(WARNING, NEAR, text)]


def near_pairs(train: Sequence[Look], evaluated: Sequence[Look]) -> list[tuple[Look, Look]]:
    """Pairs of looks whose pictures are nearly the same, without those that are the same."""
    if not train or not evaluated:
        return []
    ours = np.asarray([look.dhash for look in train], np.uint64)
    theirs = np.asarray([look.dhash for look in evaluated], np.uint64)
    pairs = []
    for start in range(0, len(theirs), ROWS):
        differ = (theirs[start : start + ROWS, None] ^ ours[None]).view(np.uint16)
        apart = _BITS[differ].reshape(-1, len(ours), 4).sum(-1)
        for row, column in np.argwhere(apart <= BITS_APART):
            one, other = train[column], evaluated[start + row]
            if one.pixels != other.pixels and _alike(one, other):
                pairs.append((one, other))
    return pairs


def _alike(one: Look, other: Look) -> bool:
    a, b = (np.frombuffer(look.thumb, np.uint8).astype(np.float32) for look in (one, other))
    # Another exposure is no other picture.
    return float(np.abs((a - a.mean()) - (b - b.mean())).mean()) < LEVELS_APART
