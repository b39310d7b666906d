"""Mask2Former over Swin (Cheng et al. 2021, arXiv:2112.01527)."""

import math
from typing import Any

from fcnjax.errors import UserError
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import layer_names, under
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.architectures.swin import SWIN_NAMES, SWIN_UNUSED, swin_model

_LEVELS = 3


def _model(config: PublishedConfig) -> dict[str, Any]:
    backbone = config.section("backbone_config")
    backbone.require("model_type", "swin")
    layers = config.integer("decoder_layers", 10)
    if layers < 1:
        raise UserError(f"{config.where}: decoder_layers is {layers}; valid: 1 or more")
    options = {
        "queries": config.integer("num_queries", 100),
        "depth": layers - 1,  # the queries before the first layer count
        "hidden": config.integer("dim_feedforward", 2048),
        "hidden_activation": read_activation(config, "activation_function", "relu"),
        "pre_norm": config.flag("pre_norm", False),
        "heads": config.integer("num_attention_heads", 8),
        "pixel_width": config.integer("feature_size", 256),
        "pixel_depth": config.integer("encoder_layers", 6),
        "pixel_hidden": config.integer("encoder_feedforward_dim", 1024),
        "skips": _skips(config),
        "mask_width": config.integer("mask_feature_size", 256),
        "project_inputs": config.flag("enforce_input_projection", False),
    }
    return {
        **swin_model(backbone),
        "decoder": "mask2former",
        "decoder_width": config.integer("hidden_dim", 256),
        "decoder_options": format_module_options(options),
        "dropout": config.number("dropout", 0.0),
    }


def _skips(config: PublishedConfig) -> int:
    """Return how many features are added to the refined levels."""
    strides = config.integers("feature_strides", (4, 8, 16, 32))
    common = config.integer("common_stride", 4)
    if len(strides) < _LEVELS or min(strides) < 1 or common < 1:
        raise UserError(f"{config.where}: feature_strides or common_stride is not valid")
    skips = int(math.log2(min(strides[-_LEVELS:])) - math.log2(common))
    if not 0 <= skips <= _LEVELS:
        raise UserError(
            f"{config.where}: common_stride is {common}; supported: at most that of the third last "
            "feature, and at least an eighth of it"
        )
    return skips


_PIXEL_LAYER = {
    "attention/sampling_offsets": "self_attn.sampling_offsets",
    "attention/attention_weights": "self_attn.attention_weights",
    "attention/value": "self_attn.value_proj",
    "attention/project": "self_attn.output_proj",
    "norm1": "self_attn_layer_norm",
    "expand": "fc1",
    "contract": "fc2",
    "norm2": "final_layer_norm",
}
_PIXEL_DECODER = {
    "project{n}": "input_projections.{n}.0",
    "project{n}_norm": "input_projections.{n}.1",
    "lateral{n}": "adapter_{n+1}.0",
    "lateral{n}_norm": "adapter_{n+1}.1",
    "smooth{n}": "layer_{n+1}.0",
    "smooth{n}_norm": "layer_{n+1}.1",
    "mask": "mask_projection",
    **under("layer{n}", "encoder.layers.{n}", _PIXEL_LAYER),
}
_QUERY_LAYER = {
    "cross_attention": "cross_attn",
    "cross_attention/project": "cross_attn.out_proj",
    "cross_norm": "cross_attn_layer_norm",
    "self_attention/query": "self_attn.q_proj",
    "self_attention/key": "self_attn.k_proj",
    "self_attention/value": "self_attn.v_proj",
    "self_attention/project": "self_attn.out_proj",
    "self_norm": "self_attn_layer_norm",
    "expand": "fc1",
    "contract": "fc2",
    "norm": "final_layer_norm",
}
_QUERY_DECODER = {
    "project{n}": "input_projections.{n}",
    "norm": "decoder.layernorm",
    "mask{n}": "decoder.mask_predictor.mask_embedder.{n}.0",
    **under("layer{n}", "decoder.layers.{n}", _QUERY_LAYER),
}
_PIXELS, _QUERIES = "decoder/pixel_decoder", "decoder/query_decoder"
_MODULE = "model.pixel_level_module"
_NAMES = {
    **under("encoder", f"{_MODULE}.encoder", SWIN_NAMES),
    _PIXELS: f"{_MODULE}.decoder",
    **under(_PIXELS, f"{_MODULE}.decoder", _PIXEL_DECODER),
    _QUERIES: "model.transformer_module",
    f"{_QUERIES}/classes": "class_predictor",
    **under(_QUERIES, "model.transformer_module", _QUERY_DECODER),
}
MASK2FORMER = Architecture(
    _model,
    layer_names(_NAMES),
    leaves={
        "level_embeddings": "level_embed.weight",
        "query_positions": "queries_embedder.weight",
        "query_features": "queries_features.weight",
    },
    unused=("criterion.", *(f"{_MODULE}.encoder.{name}" for name in SWIN_UNUSED)),
)
