"""Helpers for encoders made of stages of blocks."""

from collections.abc import Iterable, Sequence

import numpy as np


def drop_path_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Return the stochastic depth rate of each block by stage, rising linearly from 0 to `last`."""
    rates = np.linspace(0, last, sum(depths))
    return [stage.tolist() for stage in np.split(rates, np.cumsum(depths)[:-1])]


def check_variant(variant: str, variants: Iterable[str]) -> None:
    """Raise ValueError where `variant` is none of `variants`."""
    if variant not in variants:
        raise ValueError(f"variant {variant!r} is none of {', '.join(variants)}")
