"""Helpers for encoders made of stages of blocks."""

import dataclasses
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def drop_path_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Return the stochastic depth rate of each block by stage, rising linearly from 0 to `last`."""
    rates = np.linspace(0, last, sum(depths))
    return [stage.tolist() for stage in np.split(rates, np.cumsum(depths)[:-1])]


def check_variant(variant: str, variants: Iterable[str]) -> None:
    """Raise ValueError where `variant` is none of `variants`."""
    if variant not in variants:
        raise ValueError(f"variant {variant!r} is none of {', '.join(variants)}")


class StagedEncoder(nn.Module):
    """Base of encoders of residual blocks in stages at strides 4, 8, 16 and 32.

    Attributes:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        drop_path: Probability of dropping the last block's branches, in training; it rises linearly
            from 0 at the first block.
        dtype: Dtype of the computation; parameters are float32.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def __post_init__(self):
        """Raise ValueError where a list has not one entry for each stage."""
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, tuple) and len(value) != len(self.depths):
                raise ValueError(
                    f"{each.name} has {len(value)} entries, and depths {len(self.depths)}"
                )
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """4, 8, 16, 32."""
        return tuple(4 * 2**i for i in range(len(self.depths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """The widths."""
        return self.widths
