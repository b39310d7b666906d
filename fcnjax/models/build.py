"""Building a model from a config, and checks of its options."""

from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.config import channel_names, check_section
from fcnjax.errors import UserError, choose
from fcnjax.models.decoders.fcn import UPSAMPLES, FCNHead
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.model_spec import ModelSpec
from fcnjax.models.module_options import parse_module_options
from fcnjax.models.segmenter import Segmenter

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
# From the number of classes to the number of logits.
HEADS = {
    "softmax": lambda classes: classes,
    "sigmoid": lambda classes: 1 if classes == 2 else classes,
}
# The options that an auxiliary head shares with the decoder.
_AUX_HEAD_OPTIONS = ("dropout", "align_corners")


def build_model(config: ConfigDict) -> Segmenter:
    """Build the model that `config.model` describes, for the classes and channels of its data.

    Raises:
        UserError: An unknown name, a bad value, an option that neither the encoder nor the decoder
            takes, or an encoder that the decoder cannot decode.
    """
    model = config.model
    names = (model.encoder, model.decoder)
    encoder_spec = choose(ENCODERS, model.encoder, "config.model.encoder")
    decoder_spec = choose(DECODERS, model.decoder, "config.model.decoder")
    check_section(model, "model")
    logits_for = choose(HEADS, model.head, "config.model.head")
    common = {
        "norm": model.norm,
        "activation": model.activation,
        "dtype": choose(DTYPES, model.dtype, "config.model.dtype"),
    }
    classes = len(config.data.class_names)
    if classes < 2:
        raise UserError(f"config.data.class_names: {classes} classes; a model needs two or more")
    options = checked_options(model, encoder_spec, decoder_spec)
    encoder_norm = model.norm if model.encoder_norm is None else model.encoder_norm
    if model.encoder_norm is not None and "norm" not in encoder_spec.common:
        raise UserError(
            f"config.model.encoder_norm: {model.encoder_norm} cannot be set for encoder "
            f"{model.encoder}, whose norm is fixed; valid: None"
        )
    module_options = _module_options(model, "encoder", encoder_spec)
    arguments = encoder_spec.arguments(options, common | {"norm": encoder_norm})
    try:
        encoder = encoder_spec.make(**arguments, **module_options)
    except ValueError as error:  # options that do not fit each other
        raise UserError(f"config.model.encoder_options: {error}") from error
    out_channels = logits_for(classes)
    decoder = decoder_spec.make(
        encoder,
        out_channels,
        names,
        **decoder_spec.arguments(options, common),
        **_module_options(model, "decoder", decoder_spec),
    )
    aux_head = None
    if model.aux_head:
        aux_options = {key: options[key] for key in _AUX_HEAD_OPTIONS if key in options}
        aux_options |= {"index": model.aux_feature, **common}
        aux_head = FCNHead.build(encoder, out_channels, names, **aux_options)
    channels = len(channel_names(config.data.channels))
    dtype = common["dtype"]
    return Segmenter(encoder, decoder, out_channels, channels, dtype, aux_head, model.remat)


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


def _module_options(model: ConfigDict, kind: str, spec: ModelSpec) -> dict[str, Any]:
    """Return the fields that `encoder_options` or `decoder_options` set.

    Raises:
        UserError: The module has no such options, or a value is not valid.
    """
    text, where = model[f"{kind}_options"], f"config.model.{kind}_options"
    if not text:
        return {}
    if spec.module is None:
        table = ENCODERS if kind == "encoder" else DECODERS
        valid = ", ".join(name for name, other in table.items() if other.module)
        raise UserError(f"{where}: {kind} {model[kind]} has none; those that have: {valid}")
    return parse_module_options(text, spec.free_options, where)


def _require_both(key: str, model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> None:
    """Raise an error where only one of encoder and decoder takes an option that both need."""
    for kind, spec, table in (("encoder", encoder, ENCODERS), ("decoder", decoder, DECODERS)):
        if key not in spec.options:
            valid = ", ".join(name for name, other in table.items() if key in other.options)
            raise UserError(
                f"config.model.{key}: {model[key]} does not work with {kind} {model[kind]}; valid: "
                f"{valid}"
            )
