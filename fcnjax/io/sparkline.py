"""Sparklines: small charts of one row of text."""

from collections.abc import Sequence

import numpy as np

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*#@"  # for streams without Unicode


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Draw values as a row of characters.

    Args:
        values: Finite numbers, at least one.
        width: The largest number of characters. More values are averaged in groups.
        blocks: The characters from the lowest value to the highest.

    Returns:
        A character for each value or group; the lowest one if all are equal.
    """
    groups = np.array_split(np.asarray(values, np.float64), min(width, len(values)))
    means = np.asarray([group.mean() for group in groups])
    span = means.max() - means.min()
    levels = (means - means.min()) / (span if span > 0 else 1) * (len(blocks) - 1)
    return "".join(blocks[level] for level in np.rint(levels).astype(int))
