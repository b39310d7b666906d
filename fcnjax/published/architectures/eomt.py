"""EoMT over DINOv2 and DINOv3 (Kerssies et al. 2025, arXiv:2503.19108)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import Path, layer_names, under
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import Architecture, PublishedConfig


def _model(config: PublishedConfig, encoder: dict[str, Any]) -> dict[str, Any]:
    """Return keys of `config.model`, given the options of the encoder that one class alone has."""
    patch, size = config.integer("patch_size", 16), config.integer("image_size", 640)
    options = {
        "patch": patch,
        "width": config.integer("hidden_size", 1024),
        "depth": config.integer("num_hidden_layers", 24),
        "heads": config.integer("num_attention_heads", 16),
        "queries": config.integer("num_queries", 200),
        "query_blocks": config.integer("num_blocks", 4),
        "registers": config.integer("num_register_tokens", 4),
        # Where images of its size have a partial patch, the original does not see it.
        "drop_partial": size % patch != 0,
        "layer_scale": config.number("layerscale_value", 1.0),
        "epsilon": config.number("layer_norm_eps", 1e-6),
        "attention_dropout": config.number("attention_dropout", 0.0),
    }
    decoder = {
        "upscales": config.integer("num_upscale_blocks", 2),
        "hidden_activation": _activation(config),
    }
    return {
        "encoder": "eomt_vit",
        "encoder_options": format_module_options(options | encoder),
        "drop_path": config.number("drop_path_rate", 0.0),
        "dropout": config.number("hidden_dropout_prob", 0.0),
        "decoder": "eomt",
        "decoder_options": format_module_options(decoder),
    }


def _activation(config: PublishedConfig) -> str:
    return read_activation(config, "hidden_act", "gelu")


def _dinov2(config: PublishedConfig) -> dict[str, Any]:
    hidden = int(config.integer("hidden_size", 1024) * config.number("mlp_ratio", 4))
    gated = config.flag("use_swiglu_ffn", False)
    if gated:
        # Two thirds, in multiples of 8: as many weights as without the gate.
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    encoder = {
        "hidden": hidden,
        "gated": gated,
        "hidden_activation": "silu" if gated else _activation(config),
        "positions": "learned",
        "key_bias": True,
        "grid": config.integer("image_size", 640) // config.integer("patch_size", 16),
    }
    return _model(config, encoder)


def _dinov3(config: PublishedConfig) -> dict[str, Any]:
    base = config.number("rope_theta", 100.0)
    if config.has("rope_parameters"):
        rotary = config.section("rope_parameters")
        rotary.require("rope_type", "default")
        base = rotary.number("rope_theta", base)
    encoder = {
        "hidden": config.integer("intermediate_size", 4096),
        "gated": config.flag("use_gated_mlp", False),
        "hidden_activation": _activation(config),
        "positions": "rotary",
        "rotary_base": base,
        "position_shift": config.number("pos_embed_shift", 0.0),
        "position_jitter": config.number("pos_embed_jitter", 1.0),
        # None is a value of its own: no change.
        "position_rescale": config.number("pos_embed_rescale", 1.0)
        if "pos_embed_rescale" in config.content
        else 2.0,
        "query_bias": config.flag("query_bias", True),
        "key_bias": config.flag("key_bias", False),
        "value_bias": config.flag("value_bias", True),
        "project_bias": config.flag("proj_bias", True),
        "mlp_bias": config.flag("mlp_bias", True),
    }
    return _model(config, encoder)


_DECODER = {
    "decoder/classes": "class_predictor",
    "decoder/mask{n}": "mask_head.fc{n+1}",
    "decoder/upscale{n}": "upscale_block.block.{n}.conv1",
    "decoder/smooth{n}": "upscale_block.block.{n}.conv2",
    "decoder/norm{n}": "upscale_block.block.{n}.layernorm2d",
}


def _names(embed: str, project: str, mlp: Mapping[str, str]) -> dict[str, str]:
    """Return the rules, given the names that differ between the two classes."""
    block = {
        "norm{k}": "norm{k}",
        "scale{k}": "layer_scale{k}",
        "attention/query": "attention.q_proj",
        "attention/key": "attention.k_proj",
        "attention/value": "attention.v_proj",
        "attention/project": f"attention.{project}",
        **{f"mlp/{ours}": f"mlp.{name}" for ours, name in mlp.items()},
    }
    return {
        "encoder": "embeddings",
        "encoder/embed": embed,
        "encoder/position_table": "embeddings.position_embeddings",
        "encoder/query": "query",
        "encoder/norm": "layernorm",
        **under("encoder/block{n}", "layers.{n}", block),
        **_DECODER,
    }


_PLAIN = {"expand": "fc1", "contract": "fc2"}
_GATED = {"gate": "gate_proj", "expand": "up_proj", "contract": "down_proj"}
_dinov2_plain = layer_names(_names("embeddings.patch_embeddings.projection", "out_proj", _PLAIN))
_dinov2_gated = layer_names(_names("embeddings.patch_embeddings.projection", "out_proj", _GATED))


def _dinov2_names(model: Any, path: Path) -> str | None:
    return (_dinov2_gated if model.encoder.gated else _dinov2_plain)(model, path)


def _check(tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse weights that are not those of a whole model, or that need masked attention."""
    if any(name.startswith("network.encoder.backbone.") for name in tensors):
        raise UserError(
            f"{where}: has differences to the weights of DINOv3, in the layout of github.com/"
            "tue-mps/eomt; download the sums that transformers reads, such as hf://tue-mps/"
            "eomt-dinov3-coco-panoptic-large-640, or add them to facebook/dinov3-vitl16-pretrain-"
            "lvd1689m (vitb16, vits16 for base, small) with transformers' convert_eomt_dinov3_to_hf"
        )
    # In training the attention of the queries is masked with these probabilities, which fall to 0.
    probabilities = tensors.get("attn_mask_probs")
    if probabilities is not None and np.max(probabilities, initial=0) > 0.5:
        raise UserError(
            f"{where}: attn_mask_probs is {np.round(probabilities, 3).tolist()}: masked attention, "
            "as before the end of a training; supported: 0 for each block"
        )


_OPTIONS = {
    "leaves": {
        "gamma": "lambda1",
        "embedding": "weight",
        "class_token": "cls_token",
    },
    "unused": ("attn_mask_probs", "criterion.", "embeddings.mask_token", "embeddings.register"),
    "check": _check,
}
EOMT = Architecture(
    _dinov2,
    _dinov2_names,
    # Of gated layers, up to transformers 5.17.
    older_names={
        r"^(layers\.\d+\.mlp)\.weights_in\.(\w+)$": r"\1.gate_proj.\2|\1.up_proj.\2",
        r"^(layers\.\d+\.mlp)\.weights_out\.": r"\1.down_proj.",
    },
    **_OPTIONS,
)
EOMT_DINOV3 = Architecture(
    _dinov3,
    layer_names(_names("embeddings.patch_embeddings", "o_proj", _GATED)),
    **_OPTIONS,
)
