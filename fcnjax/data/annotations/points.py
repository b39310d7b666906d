"""Checked coordinates from files of annotations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_COORDINATE = 1e5  # pixels; a point beyond is a mistake, and takes long to draw


def coordinates(values: object) -> np.ndarray:
    """Convert numbers of a file, alone or in nested lists, to a float64 array of that shape.

    Raises:
        ValueError: The values are not finite numbers below `MAX_COORDINATE`.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("its coordinates are not numbers") from error
    if not (np.abs(array) < MAX_COORDINATE).all():
        raise ValueError(f"it has a coordinate that is not a number below {MAX_COORDINATE:.0f}")
    return array


def number_of(entry: Mapping[str, Any], key: str) -> float:
    """Return the number `entry[key]`, which may be written as text.

    Raises:
        ValueError: The number is missing, invalid, or not below `MAX_COORDINATE`.
    """
    value = entry.get(key)
    try:
        array = coordinates(value)
        if array.ndim:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"{key!r} is {str(value)[:40]!r}; valid: a number below {MAX_COORDINATE:.0f}"
        ) from error
    return float(array)


def points_of(values: object, min_count: int = 0) -> np.ndarray:
    """Convert pairs x, y of a file to a float64 array `[N, 2]`.

    Raises:
        ValueError: The values are not such pairs, fewer than `min_count`, or as in `coordinates`.
    """
    points = coordinates(values)
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError("its points are not pairs x, y")
    if len(points) < min_count:
        raise ValueError(f"it has {len(points)} points; valid: {min_count} or more")
    return points
