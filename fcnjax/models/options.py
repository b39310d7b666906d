"""Checks of the options of encoders and decoders in `config.model`."""

from typing import Any

from ml_collections import ConfigDict

from fcnjax.errors import UserError, choose
from fcnjax.models.decoders.fcn import UPSAMPLES
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.model_spec import ModelSpec

_OPTIONS = tuple(
    dict.fromkeys(
        key for table in (ENCODERS, DECODERS) for spec in table.values() for key in spec.options
    )
)


def checked_options(model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> dict[str, Any]:
    """Return the options that are set, after checking that they apply.

    Raises:
        UserError: An option that neither the encoder nor the decoder takes, or a bad value.
    """
    options = {key: model[key] for key in _OPTIONS if model[key] is not None}
    aux_options = ("dropout",) if model.aux_head else ()
    applicable = {*encoder.options, *decoder.options, *aux_options}
    choices = {"upsample": UPSAMPLES, **encoder.choices, **decoder.choices}
    for key, value in options.items():
        where = f"config.model.{key}"
        if key not in applicable:
            valid = ", ".join(key for key in _OPTIONS if key in applicable)
            raise UserError(
                f"{where}: not an option of encoder {model.encoder} or decoder {model.decoder}; "
                f"valid: {valid}"
            )
        if key in choices:
            choose(choices[key], value, where)
        elif isinstance(value, list):
            options[key] = tuple(value)
    if options.get("padding") == "valid":
        _require_both("padding", model, encoder, decoder)
    return options


def _require_both(key: str, model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> None:
    """Raise an error where only one of encoder and decoder takes an option that both need."""
    for kind, spec, table in (("encoder", encoder, ENCODERS), ("decoder", decoder, DECODERS)):
        if key not in spec.options:
            valid = ", ".join(name for name, other in table.items() if key in other.options)
            raise UserError(
                f"config.model.{key}: {model[key]} does not work with {kind} {model[kind]}; valid: "
                f"{valid}"
            )
