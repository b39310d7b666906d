"""How a config becomes a model."""

from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.config import channel_names, check_section
from fcnjax.errors import UserError, choose
from fcnjax.models.decoders.fcn import UPSAMPLES
from fcnjax.models.decoders.fcn_head import make_fcn_head
from fcnjax.models.decoders.fpn import MERGES
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.decoders.unet import SKIPS
from fcnjax.models.encoders import resnet
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.encoders.vanilla import DOWNSAMPLES, PADDINGS
from fcnjax.models.layers import ATTENTIONS
from fcnjax.models.model_spec import ModelSpec
from fcnjax.models.segmenter import Segmenter

DTYPES = MappingProxyType({"float32": jnp.float32, "bfloat16": jnp.bfloat16})
# How many logits stand for a number of classes.
HEADS = MappingProxyType(
    {"softmax": lambda classes: classes, "sigmoid": lambda classes: 1 if classes == 2 else classes}
)
_NAMED_OPTIONS = MappingProxyType(
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
        key for table in (ENCODERS, DECODERS) for entry in table.values() for key in entry.options
    )
)

# The options that an auxiliary head shares with the decoder.
_AUX_HEAD_OPTIONS = ("dropout", "align_corners")


def build_model(config: ConfigDict) -> Segmenter:
    """Builds the model that `config.model` describes, for the classes and channels of its data.

    Raises:
        UserError: An unknown name, a bad value, an option that neither the encoder nor the decoder
            takes, or an encoder that the decoder cannot decode.
    """
    model = config.model
    names = (model.encoder, model.decoder)
    encoder_entry = choose(ENCODERS, model.encoder, "config.model.encoder")
    decoder_entry = choose(DECODERS, model.decoder, "config.model.decoder")
    check_section(model, "model")
    outputs_of = choose(HEADS, model.head, "config.model.head")
    common = {
        "norm": model.norm,
        "activation": model.activation,
        "dtype": choose(DTYPES, model.dtype, "config.model.dtype"),
    }
    classes = len(config.data.class_names)
    if classes < 2:
        raise UserError(f"config.data.class_names: {classes} classes; a model needs two or more")
    options = _checked_options(model, encoder_entry, decoder_entry)
    encoder_norm = model.norm if model.encoder_norm is None else model.encoder_norm
    if model.encoder_norm is not None and "norm" not in encoder_entry.common:
        raise UserError(
            f"config.model.encoder_norm: {model.encoder_norm} cannot be set for encoder "
            f"{model.encoder}, which has norms of its own; valid: None"
        )
    of_encoder = common | {"norm": encoder_norm}
    encoder = encoder_entry.make(**_arguments(encoder_entry, of_encoder, options))
    outputs = outputs_of(classes)
    decoder = decoder_entry.make(
        encoder, outputs, names, **_arguments(decoder_entry, common, options)
    )
    aux_head = (
        make_fcn_head(
            encoder,
            outputs,
            names,
            index=model.aux_feature,
            **common,
            **{key: options[key] for key in _AUX_HEAD_OPTIONS if key in options},
        )
        if model.aux_head
        else None
    )
    channels = len(channel_names(config.data.channels))
    return Segmenter(encoder, decoder, outputs, channels, common["dtype"], aux_head, model.remat)


def _arguments(entry: ModelSpec, common: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    given = {entry.options[key]: value for key, value in options.items() if key in entry.options}
    return {name: common[name] for name in entry.common} | given


def _checked_options(model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> dict[str, Any]:
    """The options that are set, each known to be of use and in range."""
    options = {key: model[key] for key in _OPTIONS if model[key] is not None}
    own = {*encoder.options, *decoder.options, *(("dropout",) if model.aux_head else ())}
    taken = [key for key in _OPTIONS if key in own]
    named = {**_NAMED_OPTIONS, **encoder.choices, **decoder.choices}
    for key, value in options.items():
        where = f"config.model.{key}"
        if key not in taken:
            raise UserError(
                f"{where}: not an option of encoder {model.encoder} or decoder {model.decoder}; "
                f"those are: {', '.join(taken)}"
            )
        if key in named:
            choose(named[key], value, where)
        elif isinstance(value, list):
            options[key] = tuple(value)
    if options.get("padding") == "valid":
        _require_both("padding", model, encoder, decoder)
    return options


def _require_both(key: str, model: ConfigDict, encoder: ModelSpec, decoder: ModelSpec) -> None:
    """Refuses an option of encoder and decoder together that only one of the two takes."""
    for kind, entry, table in (("encoder", encoder, ENCODERS), ("decoder", decoder, DECODERS)):
        if key not in entry.options:
            valid = ", ".join(name for name, other in table.items() if key in other.options)
            raise UserError(
                f"config.model.{key}: {model[key]} is not for {kind} {model[kind]}; valid: {valid}"
            )
