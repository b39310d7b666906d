"""What a row of the tables of encoders and decoders is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flax import linen as nn


@dataclass(frozen=True)
class ModelSpec:
    """A row of the tables below.

    Attributes:
        make: Builds the module from the common fields and the options.
        summary: What it is, in a line.
        options: The keys of `config.model` that it takes, with the argument each becomes.
        common: The arguments it takes among `norm`, `activation` and `dtype`.
        choices: The valid values of named options, where they are not those of `_NAMED_OPTIONS`.
    """

    make: Callable[..., nn.Module]
    summary: str
    options: Mapping[str, str]
    common: tuple[str, ...] = ("norm", "activation", "dtype")
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
