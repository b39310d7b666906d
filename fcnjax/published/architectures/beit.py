"""BEiT (Bao et al. 2021, arXiv:2106.08254) and Data2Vec (Baevski et al. 2022, arXiv:2202.03555).

Both have the decoder of UPerNet.
"""

from collections.abc import Mapping
from typing import Any

from fcnjax.errors import UserError, choose
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import LayerName, Path, layer_names, under
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.architectures.sizes import read_grid, square_side

LEVELS = 4


def _beit(config: PublishedConfig) -> dict[str, Any]:
    return _model(config, _beit_states(config))


def _data2vec(config: PublishedConfig) -> dict[str, Any]:
    indices = config.integers("out_indices", (3, 5, 7, 11))
    # Without an order, and those beyond the layers do not count.
    depth = _depth(config)
    states = tuple(state for state in range(depth + 1) if state + 1 in indices)
    return _model(config, _checked(config, states))


def _depth(config: PublishedConfig) -> int:
    return config.integer("num_hidden_layers", 12)


def _beit_states(config: PublishedConfig) -> tuple[int, ...]:
    """Return the number of layers before each state that the pyramid is made of."""
    depth = _depth(config)
    if config.has("out_indices") or config.has("segmentation_indices"):
        key = "out_indices" if config.has("out_indices") else "segmentation_indices"
        indices = config.integers(key)
    else:
        stages = {"stem": 0, **{f"stage{i}": i for i in range(1, depth + 1)}}
        where = f"{config.where}: out_features"
        names = map(str, config.content.get("out_features") or ())
        indices = tuple(choose(stages, name, where) for name in names)
    # Transformers counts from 1 here; 0 and negative indices count from the end.
    states = tuple(index - 1 if index > 0 else index + depth for index in indices)
    return _checked(config, states)


def _checked(config: PublishedConfig, states: tuple[int, ...]) -> tuple[int, ...]:
    if len(states) != LEVELS or not all(0 <= state <= _depth(config) for state in states):
        raise UserError(
            f"{config.where}: out_indices is {config.content.get('out_indices')}; supported: "
            f"{LEVELS} indices in 1..{_depth(config) + 1}"
        )
    return states


def _model(config: PublishedConfig, states: tuple[int, ...]) -> dict[str, Any]:
    window, patch = read_grid(config, 224, 16)
    width, heads = config.integer("hidden_size", 768), config.integer("num_attention_heads", 12)
    config.require("head_dim", width // max(heads, 1))
    has_positions = config.flag("use_absolute_position_embeddings", False)
    encoder = {
        "patch": patch,
        "width": width,
        "depth": _depth(config),
        "heads": heads,
        "hidden": config.integer("intermediate_size", 3072),
        "states": states,
        "positions": square_side(config, window) if has_positions else 0,
        "window": window,
        "relative_bias": config.flag("use_relative_position_bias", False),
        "shared_bias": config.flag("use_shared_relative_position_bias", False),
        "layer_scale": max(config.number("layer_scale_init_value", 0.1), 0.0),
        "hidden_activation": read_activation(config, "hidden_act", "gelu"),
        "epsilon": config.number("layer_norm_eps", 1e-12),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.0),
        "dropout": config.number("hidden_dropout_prob", 0.0),
    }
    decoder = {
        "bins": config.integers("pool_scales", (1, 2, 3, 6)),
        "feature_norm": False,
        "min_stride": 1,
        "resized_once": True,
    }
    return {
        "encoder": "beit",
        "encoder_options": format_module_options(encoder),
        "drop_path": config.number("drop_path_rate", 0.1),
        "decoder": "upernet",
        "decoder_width": width,
        "decoder_options": format_module_options(decoder),
        "align_corners": False,
    }


_BLOCK = {
    "norm1": "layernorm_before",
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/project": "attention.output.dense",
    "scale{k}": "lambda_{k}",
    "norm2": "layernorm_after",
    "mlp/expand": "intermediate.dense",
    "mlp/contract": "output.dense",
}
_PYRAMID = {
    "encoder/up1": "fpn1.0",
    "encoder/up1_norm": "fpn1.1",
    "encoder/up1_next": "fpn1.3",
    "encoder/up2": "fpn2.0",
}
_BIAS = "attention.attention.relative_position_bias"


def _names(root: str, context: str, pool: str, parts: Mapping[str, str]) -> LayerName:
    """Return the layout, given the names that differ between the two classes.

    Args:
        root: Of the encoder.
        context: Of the convolution after the pyramid pooling.
        pool: Of that of one grid, with `{}` for its number.
        parts: Of `conv` and `norm`.
    """
    encoder = {
        "encoder/embed": f"{root}.embeddings",
        "encoder/embed/patch": f"{root}.embeddings.patch_embeddings.projection",
        "encoder/position_bias": f"{root}.encoder.relative_position_bias",
        "encoder/block{n}_position_bias": f"{root}.encoder.layer.{{n}}.{_BIAS}",
        **under("encoder/block{n}", f"{root}.encoder.layer.{{n}}", _BLOCK),
    }
    blocks = {
        "decoder/context": f"decode_head.{context}",
        # Deepest first.
        "decoder/lateral{n}": "decode_head.lateral_convs.{2-n}",
        "decoder/smooth{n}": "decode_head.fpn_convs.{2-n}",
        "decoder/fuse": "decode_head.fpn_bottleneck",
    }

    def layer_name(model: Any, path: Path) -> str | None:
        pools = {
            f"decoder/pool{side}": f"decode_head.{pool.format(i)}"
            for i, side in enumerate(model.decoder.bins)
        }
        rules = {**encoder, **_PYRAMID, "head": "decode_head.classifier"}
        for ours, name in (blocks | pools).items():
            rules |= under(ours, name, parts)
        return layer_names(rules)(model, path)

    return layer_name


_LEAVES = {
    "class_token": "cls_token",
    "positions": "position_embeddings",
    "table": "relative_position_bias_table",
    "gamma": "",
}


def _unused(root: str) -> tuple[str, ...]:
    """Return what only pretraining, classification and the auxiliary loss use."""
    parts = ("embeddings.mask_token", "layernorm.", "pooler.")
    return ("auxiliary_head.", *(f"{root}.{part}" for part in parts))


BEIT = Architecture(
    _beit,
    _names("beit", "bottleneck", "psp_modules.{}.1", {"conv": "conv", "norm": "bn"}),
    leaves=_LEAVES,
    unused=_unused("beit"),
)
DATA2VEC = Architecture(
    _data2vec,
    _names(
        "data2vec_vision",
        "psp_bottleneck",
        "psp_modules.blocks.{}.conv",
        {"conv": "convolution", "norm": "normalization"},
    ),
    leaves=_LEAVES,
    unused=_unused("data2vec_vision"),
    # Up to transformers 5.8 the decoder had the names of BEiT's.
    older_names={
        r"^decode_head\.bottleneck\.": "decode_head.psp_bottleneck.",
        r"^decode_head\.psp_modules\.(\d+)\.1\.": r"decode_head.psp_modules.blocks.\1.conv.",
        r"^(decode_head\..+)\.conv\.weight$": r"\1.convolution.weight",
        r"^(decode_head\..+)\.bn\.": r"\1.normalization.",
    },
)
