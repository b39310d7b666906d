"""Checks of the options of encoders and decoders in `config.model`."""

from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from fcnjax.errors import UserError, choose
from fcnjax.models.decoders.fcn import UPSAMPLES
from fcnjax.models.decoders.fpn import MERGES
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.decoders.unet import SKIPS
from fcnjax.models.encoders import resnet
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.encoders.vanilla import DOWNSAMPLES, PADDINGS
from fcnjax.models.layers import ATTENTIONS
from fcnjax.models.model_spec import ModelSpec

_CHOICES = MappingProxyType(
    {
        "downsample": DOWNSAMPLES,
        "skip": SKIPS,
        "upsample": UPSAMPLES,
        "padding": PADDINGS,
        "attention": ATTENTIONS,
        "merge": MERGES,
        "dilation_rule": resnet.DILATION_RULES,
    }
)
_OPTIONS = tuple(
    dict.fromkeys(
        key for table in (ENCODERS, DECODERS) for spec in table.values() for key in spec.options
    )
)

# A model beyond these would use up all memory, or take minutes to trace.
MAX_CHANNELS = 2**16
MAX_STAGES = 16  # values of an option that is a list
MAX_LAYERS = 64  # of a stage


def checked_options(model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> dict[str, Any]:
    """Return the options that are set, after checking that they apply and are in range.

    Raises:
        UserError: An option that neither the encoder nor the decoder takes, or a bad value.
    """
    options = {key: model[key] for key in _OPTIONS if model[key] is not None}
    aux_options = ("dropout",) if model.aux_head else ()
    applicable = {*encoder.options, *decoder.options, *aux_options}
    choices = {**_CHOICES, **encoder.choices, **decoder.choices}
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
        else:
            options[key] = _checked_value(key, value, where)
    if options.get("padding") == "valid":
        _require_both("padding", model, encoder, decoder)
    return options


def _checked_value(key: str, value: Any, where: str) -> Any:
    """Return the value of an option that is not a name, lists as tuples."""
    if type(value) is bool:
        return value
    if key == "output_stride":
        if value not in resnet.OUTPUT_STRIDES:
            raise UserError(
                f"{where}: {value}; valid: {', '.join(map(str, resnet.OUTPUT_STRIDES))}"
            )
    elif type(value) is int:
        least = 0 if key == "fc_width" else 1  # 0 stands for no fully connected layers
        if not least <= value <= MAX_CHANNELS:
            raise UserError(f"{where}: {value}; valid: an integer in {least}..{MAX_CHANNELS}")
    elif key in ("dropout", "drop_path"):
        if not 0 <= value < 1:
            raise UserError(f"{where}: {value}; valid: a probability, from 0 to below 1")
    else:
        return _checked_integers(
            value, where, MAX_LAYERS if key == "decoder_depths" else MAX_CHANNELS
        )
    return value


def _checked_integers(values: Any, where: str, most: int) -> tuple[int, ...]:
    values = tuple(values)
    in_range = all(type(value) is int and 0 < value <= most for value in values)
    if not 0 < len(values) <= MAX_STAGES or not in_range:
        raise UserError(
            f"{where}: {values}; valid: at most {MAX_STAGES} integers in 1..{most}, such as "
            "16,32,64"
        )
    return values


def _require_both(key: str, model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> None:
    """Raise an error where only one of encoder and decoder takes an option that both need."""
    for kind, spec, table in (("encoder", encoder, ENCODERS), ("decoder", decoder, DECODERS)):
        if key not in spec.options:
            valid = ", ".join(name for name, other in table.items() if key in other.options)
            raise UserError(
                f"config.model.{key}: {model[key]} does not work with {kind} {model[kind]}; valid: "
                f"{valid}"
            )
