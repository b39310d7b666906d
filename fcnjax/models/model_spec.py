"""The row of the tables of encoders and decoders."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flax import linen as nn

from fcnjax.models.module_options import OptionTypes, option_types

# The arguments of modules whose names differ from their keys in `config.model`.
_ARGUMENTS = {
    "atrous_rates": "rates",
    "decoder_depths": "depths",
    "decoder_width": "width",
    "decoder_widths": "widths",
    "encoder_form": "variant",
}


@dataclass(frozen=True)
class ModelSpec:
    """An encoder or a decoder.

    Attributes:
        make: Builds the module from the common arguments and the options.
        summary: One line: the paper, and whose implementation is followed.
        options: The keys of `config.model` that it takes.
        common: The arguments it takes among `norm`, `activation` and `dtype`.
        choices: The valid values of its own named options, with their meaning.
        module: The class of the module, where `encoder_options` or `decoder_options` set its
            fields; None where they do not.
    """

    make: Callable[..., nn.Module]
    summary: str
    options: tuple[str, ...] = ()
    common: tuple[str, ...] = ("norm", "activation", "dtype")
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    module: type[nn.Module] | None = None

    def arguments(self, options: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of `make` for keys of `config.model`; keys of others are dropped."""
        arguments = {name: common[name] for name in self.common if name in common}
        for key, value in options.items():
            if key in self.options:
                arguments[_ARGUMENTS.get(key, key)] = value
        return arguments

    @property
    def free_options(self) -> OptionTypes:
        """The fields that `encoder_options` or `decoder_options` set: those without a key."""
        if self.module is None:
            return {}
        return option_types(self.module, [_ARGUMENTS.get(key, key) for key in self.options])
