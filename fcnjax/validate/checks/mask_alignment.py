"""Tells whether masks fit their images: lie where there are edges, and are not inverted."""

from collections.abc import Iterator, Sequence

import numpy as np

from fcnjax.validate.examples import SIDE, Look
from fcnjax.validate.findings import WARNING, Finding, some

FEWEST = 10  # images that are compared
REACH = 2  # images before and after, whose masks are tried
OTHERS = 8  # images further on, whose masks tell what chance makes
SURE = 10.0  # standard errors, from which on it is no chance, though frames of a film are alike
FEWEST_SWAPPED, SURE_SWAPPED = 4, 5.0  # images; standard errors of their contrast


def unfit(looks: Sequence[Look]) -> list[Finding]:
    """Findings on masks that do not fit their images."""
    return _misplaced(looks) + _swapped(looks)


def _misplaced(looks: Sequence[Look]) -> list[Finding]:
    """A finding where borders of masks follow edges of other images, or do so when turned."""
    told = sorted((k for k in looks if k.edges and k.borders), key=lambda look: look.name)
    if len(told) < FEWEST:
        return []
    images, masks = _normed([k.edges for k in told]), _normed([k.borders for k in told])
    own, _ = _fit(images, masks)
    (fit, error), how = max((_fit(images, moved), how) for how, moved in _moved(masks))
    if fit < SURE * error or own > fit / 2:
        return []
    text = f"borders in masks follow edges of images not where they lie, but {how}"
    return [Finding(WARNING, "misplaced masks", text)]


def _swapped(looks: Sequence[Look]) -> list[Finding]:
    """A finding where of two classes the second looks as the first does in other images."""
    told = [look for look in looks if look.contrast is not None]
    small = [look for look in told if look.counts[1] < look.counts[0]]
    large = [look for look in told if look.counts[1] >= look.counts[0]]
    few, many = sorted((small, large), key=len)
    if len(few) < FEWEST_SWAPPED or len({len(look.contrast) for look in told}) > 1:
        return []
    ours, theirs = (np.stack([look.contrast for look in found]) for found in (many, few))
    ours, theirs = ours @ ours.mean(0), theirs @ ours.mean(0)
    sure = all(abs(x.mean()) * np.sqrt(len(x)) > SURE_SWAPPED * x.std() for x in (ours, theirs))
    if not sure or theirs.mean() > 0:  # pixels that are no number are not sure
        return []
    which = "larger" if few is large else "smaller"
    text = (
        f"in {len(few)} of {len(told)} masks, where the second class is the {which}, the two seem "
        f"to be swapped: by colour each is as the other elsewhere: {some([k.name for k in few])}"
    )
    return [Finding(WARNING, "swapped classes", text)]


def _normed(maps: Sequence[bytes]) -> np.ndarray:
    flat = np.stack([np.frombuffer(one, np.uint8) for one in maps]).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    return flat.reshape(-1, SIDE, SIDE)


def _fit(images: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """By how much images correlate more with their masks than with others, and its error."""
    further = range(REACH + 1, min(REACH + 1 + OTHERS, len(images) - REACH))
    chance = np.stack([(images * np.roll(masks, -step, 0)).sum((1, 2)) for step in further])
    fit = (images * masks).sum((1, 2)).mean() - chance.mean()
    return float(fit), float(chance.std() / np.sqrt(len(images)))


def _moved(masks: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The masks laid elsewhere, each with words for it."""
    for step in range(1, REACH + 1):
        yield f"where the mask of the image {step} further on lies", np.roll(masks, -step, 0)
        yield f"where the mask of the image {step} before lies", np.roll(masks, step, 0)
    yield "when the masks are mirrored", masks[:, :, ::-1]
    yield "when the masks are turned upside down", masks[:, ::-1]
    yield "when the masks are turned by half", masks[:, ::-1, ::-1]
    for quarters, side in ((1, "left"), (3, "right")):
        yield f"when the masks are turned to the {side}", np.rot90(masks, quarters, (1, 2))
    yield "when rows and columns of the masks are swapped", masks.swapaxes(1, 2)
