"""Checks that masks match their images: that borders follow edges, and classes are not swapped."""

from collections.abc import Iterator, Sequence

import numpy as np

from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.example_summary import MAP_SIDE
from fcnjax.validate.findings import WARNING, Finding, abbreviate

MIN_COMPARED = 10  # images
SHIFTS = 2  # images before and after, whose masks are tried
CHANCE_SHIFTS = 8  # images further on, whose masks give the correlation by chance
# Standard errors above chance. The threshold is high, since frames of a film are alike.
MIN_FIT = 10.0
MIN_SWAPPED, MIN_CONTRAST = 4, 5.0  # images, and standard errors of their contrast


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
        f"{abbreviate([example.name for example in few])}"
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
