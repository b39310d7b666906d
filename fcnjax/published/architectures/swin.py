"""Swin Transformers (Liu et al. 2021, arXiv:2103.14030), the backbones of several models."""

from typing import Any

from fcnjax.errors import UserError
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import under
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import PublishedConfig
from fcnjax.published.architectures.sizes import read_sides, read_square

STAGES = 4
_BLOCK = {
    "norm1": "layernorm_before",
    "attention": "attention.self",
    "attention/query_key_value": "attention.self.query|attention.self.key|attention.self.value",
    "attention/project": "attention.output.dense",
    "norm2": "layernorm_after",
    "expand": "intermediate.dense",
    "contract": "output.dense",
}
# From the paths of layers in the encoder to names in the backbone.
SWIN_NAMES = {
    "positions": "embeddings",
    "embed": "embeddings.patch_embeddings.projection",
    "embed_norm": "embeddings.norm",
    "down{n}": "encoder.layers.{n-2}.downsample.reduction",
    "down{n}_norm": "encoder.layers.{n-2}.downsample.norm",
    "norm{n}": "hidden_states_norms.stage{n}",
    **under("stage{n}_block{m}", "encoder.layers.{n-1}.blocks.{m}", _BLOCK),
}
# Beginnings of names of tensors without use: the norm of the last stage without its feature.
SWIN_UNUSED = ("layernorm.", "swin.layernorm.")


def swin_model(config: PublishedConfig) -> dict[str, Any]:
    """Return keys of `config.model` for a `backbone_config` of the type `swin`.

    Raises:
        UserError: A variant that is not supported.
    """
    config.require("out_features", [f"stage{i + 1}" for i in range(STAGES)])
    config.require("num_channels", 3)
    depths = config.integers("depths", (2, 2, 6, 2))
    if len(depths) != STAGES:
        raise UserError(f"{config.where}: depths has {len(depths)} entries; supported: {STAGES}")
    patch = read_square(config, "patch_size", 4)
    rows = columns = 0
    if config.flag("use_absolute_embeddings", False):
        rows, columns = (side // patch for side in read_sides(config, "image_size", 224))
    width = config.integer("embed_dim", 96)
    options = {
        "depths": depths,
        "widths": tuple(width * 2**i for i in range(STAGES)),
        "heads": config.integers("num_heads", (3, 6, 12, 24)),
        "patch": patch,
        "window": config.integer("window_size", 7),
        "expansion": config.number("mlp_ratio", 4.0),
        "qkv_bias": config.flag("qkv_bias", True),
        "hidden_activation": read_activation(config, "hidden_act", "gelu"),
        "epsilon": config.number("layer_norm_eps", 1e-5),
        "position_rows": rows,
        "position_columns": columns,
        "hidden_dropout": config.number("hidden_dropout_prob", 0.0),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.0),
    }
    return {
        "encoder": "swin",
        "encoder_options": format_module_options(options),
        "drop_path": config.number("drop_path_rate", 0.1),
    }
