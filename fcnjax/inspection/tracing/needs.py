"""Needed parts of an array, as boxes of indices along each axis."""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

# Bool `[size]` for each axis: the indices that are needed. Together they are a box.
Need = tuple[np.ndarray, ...]
# More boxes of one array than this are replaced by the box around them.
_MAX_BOXES = 32


def add_box(needs: Sequence[Need], more: Need) -> list[Need]:
    """Add a box to `needs`, merging boxes where that is exact."""
    for i, box in enumerate(needs):
        if _within(more, box):
            return list(needs)
        others = [*needs[:i], *needs[i + 1 :]]
        if _within(box, more):
            return add_box(others, more)
        different = [k for k, pair in enumerate(zip(box, more, strict=True)) if _differ(*pair)]
        if len(different) == 1:
            return add_box(others, _enclose((box, more)))
    if len(needs) == _MAX_BOXES:
        return [_enclose((*needs, more))]
    return [*needs, more]


def _enclose(needs: Sequence[Need]) -> Need:
    return tuple(functools.reduce(np.logical_or, axis) for axis in zip(*needs, strict=True))


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return one is not other and not np.array_equal(one, other)


def _within(inner: Need, outer: Need) -> bool:
    pairs = zip(inner, outer, strict=True)
    return all(a is b or not (a & ~b).any() for a, b in pairs)


def narrow(need: Need, shape: Sequence[int]) -> Need:
    """Return the need of an operand that is broadcast along axes of size one, or is a scalar."""
    pairs = zip(shape, need, strict=True) if shape else ()
    return tuple(kept if size == len(kept) else kept.any(keepdims=True) for size, kept in pairs)


def reshape(need: Need, before: Sequence[int], after: Sequence[int]) -> list[Need]:
    """Return the boxes in an array of shape `before` that a reshape to `after` makes a box."""
    runs = []
    for inner, outer in _group_axes(before, after):
        if len(inner) == len(outer) == 1:
            runs.append([(need[outer[0]],)])
            continue
        joint = functools.reduce(np.logical_and.outer, [need[axis] for axis in outer])
        runs.append(_boxes(np.reshape(joint, [before[axis] for axis in inner])))
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*runs)]


def _boxes(part: np.ndarray) -> list[Need]:
    """Split a part of an array, given as a bool array, into boxes."""
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


def _group_axes(
    before: Sequence[int], after: Sequence[int]
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Return the shortest runs of axes of two shapes that have the same number of elements."""
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
