"""DPT over a plain vision transformer (Ranftl et al. 2021, arXiv:2103.13413)."""

from typing import Any

from fcnjax.errors import UserError
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import layer_names, under
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.architectures.sizes import read_grid, square_side


def _model(config: PublishedConfig) -> dict[str, Any]:
    # Hybrids begin with a convolutional backbone.
    config.require("is_hybrid", False)
    config.require("backbone_config", None)
    config.require("backbone", None)
    grid, patch = read_grid(config, 384, 16)
    activation = read_activation(config, "hidden_act", "gelu")
    encoder = {
        "patch": patch,
        "width": config.integer("hidden_size", 768),
        "depth": config.integer("num_hidden_layers", 12),
        "heads": config.integer("num_attention_heads", 12),
        "hidden": config.integer("intermediate_size", 3072),
        "states": _states(config),
        "positions": square_side(config, grid),
        "position_rule": "bilinear",
        "qkv_bias": config.flag("qkv_bias", True),
        "hidden_activation": activation,
        "epsilon": config.number("layer_norm_eps", 1e-12),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.0),
        "dropout": config.number("hidden_dropout_prob", 0.0),
    }
    # `neck_ignore_stages` and `add_projection` have no effect on this class.
    widths = config.integers("neck_hidden_sizes", (96, 192, 384, 768))
    has_norm = config.flag("use_batch_norm_in_fusion_residual", False)
    decoder = {
        "level_widths": widths,
        "factors": config.numbers("reassemble_factors", (4, 2, 1, 0.5))[: len(widths)],
        "readout": config.text("readout_type", "project"),
        "residual_norm": has_norm,
        "residual_bias": config.flag("use_bias_in_fusion_residual", not has_norm),
        "fused_index": config.integer("head_in_index", -1),
        "hidden_activation": activation,
    }
    return {
        "encoder": "vit",
        "encoder_options": format_module_options(encoder),
        "decoder": "dpt",
        "decoder_width": config.integer("fusion_hidden_size", 256),
        "decoder_options": format_module_options(decoder),
        "dropout": config.number("semantic_classifier_dropout", 0.1),
    }


def _states(config: PublishedConfig) -> tuple[int, ...]:
    """Return the number of layers before each state; their order in the config has no effect."""
    indices = config.integers("backbone_out_indices", (2, 5, 8, 11))
    depth = config.integer("num_hidden_layers", 12)
    if beyond := [index for index in indices if not 0 <= index < depth]:
        raise UserError(
            f"{config.where}: backbone_out_indices has {beyond[0]}; supported: 0..{depth - 1}"
        )
    return tuple(index + 1 for index in sorted(set(indices)))


_BLOCK = {
    "norm1": "layernorm_before",
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/project": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp/expand": "intermediate.dense",
    "mlp/contract": "output.dense",
}
_UNIT = {"conv{k}/conv": "convolution{k}", "conv{k}/norm": "batch_norm{k}"}
_NAMES = {
    "encoder/embed": "dpt.embeddings",
    "encoder/embed/patch": "dpt.embeddings.patch_embeddings.projection",
    **under("encoder/block{n}", "dpt.encoder.layer.{n}", _BLOCK),
    "decoder/readout{n}": "neck.reassemble_stage.readout_projects.{n}.0",
    "decoder/project{n}": "neck.reassemble_stage.layers.{n}.projection",
    "decoder/resize{n}": "neck.reassemble_stage.layers.{n}.resize",
    "decoder/level{n}": "neck.convs.{n}",
    "decoder/fuse{n}/project": "neck.fusion_stage.layers.{n}.projection",
    **under("decoder/fuse{n}/unit{m}", "neck.fusion_stage.layers.{n}.residual_layer{m}", _UNIT),
    "decoder/merge/conv": "head.head.0",
    "decoder/merge/norm": "head.head.1",
    "decoder/score": "head.head.4",
}
DPT = Architecture(
    _model,
    layer_names(_NAMES),
    leaves={"class_token": "cls_token", "positions": "position_embeddings"},
    unused=(
        "auxiliary_head.",
        "dpt.layernorm.",
        "dpt.pooler.",
        # The first fusion has one input.
        "neck.fusion_stage.layers.0.residual_layer1.",
    ),
)
