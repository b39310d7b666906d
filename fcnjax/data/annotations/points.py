"""Coordinates in files of annotations: what stands there becomes numbers or an error."""

from collections.abc import Mapping
from typing import Any

import numpy as np

FARTHEST = 1e5  # pixels; a point beyond is a slip, and takes time to draw


def coordinates(values: object) -> np.ndarray:
    """Numbers of a file, alone or in nested lists, as a float64 array of that shape.

    Raises:
        ValueError: They are no numbers, or not all below `FARTHEST`; NaN and infinity are not.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("its coordinates are not numbers") from error
    if not (np.abs(array) < FARTHEST).all():
        raise ValueError(f"it has a coordinate that is no number below {FARTHEST:.0f}")
    return array


def number_of(entry: Mapping[str, Any], key: str) -> float:
    """The number `entry[key]`, which may be written as a text.

    Raises:
        ValueError: It is missing, no number, or not below `FARTHEST`.
    """
    value = entry.get(key)
    try:
        array = coordinates(value)
        if array.ndim:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"{key!r} is {str(value)[:40]!r}; valid: a number below {FARTHEST:.0f}"
        ) from error
    return float(array)


def points_of(values: object, least: int = 0) -> np.ndarray:
    """Pairs x, y of a file as a float64 array `[N, 2]`.

    Raises:
        ValueError: They are no such pairs, fewer than `least`, or as `coordinates`.
    """
    points = coordinates(values)
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError("its points are no pairs x, y")
    if len(points) < least:
        raise ValueError(f"it has {len(points)} points; valid: {least} or more")
    return points
