"""Parts of an array, named by the indices that are needed along each axis."""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

# Bool `[size]` for each axis: the indices that are needed; together a box of them.
Need = tuple[np.ndarray, ...]
# More boxes of one array than this are taken as the one box around them.
_MOST = 32


def united(needs: Sequence[Need], more: Need) -> list[Need]:
    """The boxes of `needs` and one more, in as few as is easily seen."""
    for i, known in enumerate(needs):
        if _within(more, known):
            return list(needs)
        others = [*needs[:i], *needs[i + 1 :]]
        if _within(known, more):
            return united(others, more)
        unlike = [k for k, pair in enumerate(zip(known, more, strict=True)) if _differ(*pair)]
        if len(unlike) == 1:
            return united(others, _around((known, more)))
    if len(needs) == _MOST:
        return [_around((*needs, more))]
    return [*needs, more]


def _around(needs: Sequence[Need]) -> Need:
    return tuple(functools.reduce(np.logical_or, axis) for axis in zip(*needs, strict=True))


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return one is not other and not np.array_equal(one, other)


def _within(inner: Need, outer: Need) -> bool:
    pairs = zip(inner, outer, strict=True)
    return all(a is b or not (a & ~b).any() for a, b in pairs)


def narrowed(need: Need, shape: Sequence[int]) -> Need:
    """The need of an operand that is repeated along its axes of size one, or is a single number."""
    pairs = zip(shape, need, strict=True) if shape else ()
    return tuple(kept if size == len(kept) else kept.any(keepdims=True) for size, kept in pairs)


def reshaped(need: Need, before: Sequence[int], after: Sequence[int]) -> list[Need]:
    """What a part of an array of shape `after` is in the array of shape `before` it is made of."""
    runs = []
    for inner, outer in _regrouped(before, after):
        if len(inner) == len(outer) == 1:
            runs.append([(need[outer[0]],)])
            continue
        joint = functools.reduce(np.logical_and.outer, [need[axis] for axis in outer])
        runs.append(_boxes(np.reshape(joint, [before[axis] for axis in inner])))
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*runs)]


def _boxes(part: np.ndarray) -> list[Need]:
    """A part of an array, bool and of any form, in boxes."""
    if part.ndim == 1:
        return [(part,)]
    rows = part.reshape(len(part), -1)
    patterns, which = np.unique(rows, axis=0, return_inverse=True)
    return [
        (which.reshape(-1) == i, *box)
        for i, pattern in enumerate(patterns)
        if pattern.any()
        for box in _boxes(pattern.reshape(part.shape[1:]))
    ]


def _regrouped(
    before: Sequence[int], after: Sequence[int]
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """The least runs of axes of two shapes that hold the same number of elements."""
    groups = []
    i = j = 0
    while i < len(before) or j < len(after):
        starts = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while (left := math.prod(before[starts[0] : i])) != (
            right := math.prod(after[starts[1] : j])
        ):
            if left < right:
                i += 1
            else:
                j += 1
        groups.append((range(starts[0], i), range(starts[1], j)))
    return groups
