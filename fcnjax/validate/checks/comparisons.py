"""Checks that compare examples: images that occur twice, masks that do not match their images."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from fcnjax.data.labels.classes import evenly
from fcnjax.errors import join_names
from fcnjax.validate.example_summary import MAP_SIDE, ExampleSummary
from fcnjax.validate.findings import ERROR, WARNING, Finding
from fcnjax.validate.statistics import DatasetSummary

MIN_COMPARED = 10  # images
SHIFTS = 2  # images before and after, whose masks are tried
CHANCE_SHIFTS = 8  # images further on, whose masks give the correlation by chance
# Standard errors above chance. The threshold is high, since frames of a film are alike.
MIN_FIT = 10.0
MIN_SWAPPED, MIN_CONTRAST = 4, 5.0  # images, and standard errors of their contrast
NEAR_DUPLICATES = "near duplicates"
MAX_COMPARED = 20_000  # examples of a split that are compared with those of the other
ROWS_AT_ONCE = 16  # of the table of distances
MAX_BITS = 5  # of 64 by which the hashes of near duplicates differ
MAX_LEVELS = 4.0  # mean difference of the thumbnails of near duplicates, in grey levels
MIN_EQUAL_MASKS = 3  # fewer equal masks may be chance
_BIT_COUNTS = np.asarray([bin(value).count("1") for value in range(2**16)], np.uint8)


def check_alignment(dataset: DatasetSummary) -> list[Finding]:
    """Report masks whose borders follow edges of other images, or do so when transformed."""
    examples = sorted(
        (each for each in dataset.examples if each.edges and each.borders), key=lambda e: e.name
    )
    if len(examples) < MIN_COMPARED:
        return []
    edges = _normalise([example.edges for example in examples])
    borders = _normalise([example.borders for example in examples])
    fit, _ = _measure_fit(edges, borders)
    (best, error), words = max(
        (_measure_fit(edges, moved), words) for words, moved in _transform(borders)
    )
    if best < MIN_FIT * error or fit > best / 2:
        return []
    text = f"borders in masks follow edges of images not in place, but {words}"
    return [Finding(WARNING, "misplaced masks", text)]


def check_swapped_classes(dataset: DatasetSummary) -> list[Finding]:
    """Report masks of two classes whose second class looks like the first in other images."""
    examples = [each for each in dataset.examples if each.contrast is not None]
    small = [each for each in examples if each.counts[1] < each.counts[0]]
    large = [each for each in examples if each.counts[1] >= each.counts[0]]
    few, many = sorted((small, large), key=len)
    if len(few) < MIN_SWAPPED or len({len(each.contrast) for each in examples}) > 1:
        return []
    usual = np.stack([example.contrast for example in many])
    unusual = np.stack([example.contrast for example in few])
    usual, unusual = usual @ usual.mean(0), unusual @ usual.mean(0)
    # Written so that nan, from pixels that are not numbers, gives no finding.
    if not (_is_significant(usual) and _is_significant(unusual)) or unusual.mean() > 0:
        return []
    size = "larger" if few is large else "smaller"
    text = (
        f"in {len(few)} of {len(examples)} masks, where the second class is the {size}, the two "
        "classes seem to be swapped: each has the colours of the other elsewhere: "
        f"{join_names([example.name for example in few])}"
    )
    return [Finding(WARNING, "swapped classes", text)]


def _is_significant(values: np.ndarray) -> bool:
    return bool(abs(values.mean()) * np.sqrt(len(values)) > MIN_CONTRAST * values.std())


def _normalise(maps: Sequence[bytes]) -> np.ndarray:
    """Return maps of mean 0 and norm 1, float32 `[N, MAP_SIDE, MAP_SIDE]`."""
    flat = np.stack([np.frombuffer(one, np.uint8) for one in maps]).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    return flat.reshape(-1, MAP_SIDE, MAP_SIDE)


def _measure_fit(edges: np.ndarray, borders: np.ndarray) -> tuple[float, float]:
    """Return how much more edges correlate with their borders than by chance, and its error."""
    shifts = range(SHIFTS + 1, min(SHIFTS + 1 + CHANCE_SHIFTS, len(edges) - SHIFTS))
    chance = np.stack([(edges * np.roll(borders, -step, 0)).sum((1, 2)) for step in shifts])
    fit = (edges * borders).sum((1, 2)).mean() - chance.mean()
    return float(fit), float(chance.std() / np.sqrt(len(edges)))


def _transform(borders: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the borders of other images and transformed ones, each with words for it."""
    for step in range(1, SHIFTS + 1):
        yield f"where the mask of the image {step} further on lies", np.roll(borders, -step, 0)
        yield f"where the mask of the image {step} before lies", np.roll(borders, step, 0)
    yield "when the masks are mirrored", borders[:, :, ::-1]
    yield "when the masks are turned upside down", borders[:, ::-1]
    yield "when the masks are turned by half", borders[:, ::-1, ::-1]
    for quarters, side in ((1, "left"), (3, "right")):
        yield f"when the masks are turned to the {side}", np.rot90(borders, quarters, (1, 2))
    yield "when rows and columns of the masks are swapped", borders.swapaxes(1, 2)


def check_duplicates(dataset: DatasetSummary) -> Iterator[Finding]:
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
    if leaks:
        text = (
            f"{len(leaks)} images are in train and in eval, pixel by pixel, which inflates the "
            f"score: {_name_groups(leaks)}"
        )
        yield Finding(WARNING if one_split else ERROR, "leak", text)
    if repeated:
        text = f"{len(repeated)} images occur twice or more in a split: {_name_groups(repeated)}"
        yield Finding(WARNING, "duplicates", text)
    if contradicting:
        text = (
            f"{len(contradicting)} images occur twice with different labels: "
            f"{_name_groups(contradicting)}"
        )
        yield Finding(WARNING, "contradicting labels", text)
    yield from _equal_masks(dataset.examples)
    if not one_split:
        yield from _near_duplicates(dataset.examples)


def _name_groups(groups: Sequence[Sequence[ExampleSummary]]) -> str:
    return join_names([" = ".join(example.name for example in group[:2]) for group in groups])


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
        f"was written again and again: {join_names(names)}"
    )
    return [Finding(WARNING, "equal masks", text)]


def _near_duplicates(examples: Sequence[ExampleSummary]) -> list[Finding]:
    """Report images of eval that nearly equal one of train."""
    parts = ([e for e in examples if e.part == part and e.thumb] for part in ("train", "eval"))
    compared = (evenly(part, MAX_COMPARED) for part in parts)
    pairs = {b.name: a.name for a, b in find_near_pairs(*compared)}
    if not pairs:
        return []
    names = join_names([f"{a} ~ {b}" for b, a in pairs.items()])
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
