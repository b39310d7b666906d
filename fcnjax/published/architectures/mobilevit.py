"""DeepLabV3 over MobileViT and MobileViTV2 (Mehta and Rastegari 2022).

arXiv:2110.02178 and arXiv:2206.02680.
"""

from typing import Any

from fcnjax.errors import UserError
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import layer_names, under
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.architectures.mobilenet_v2 import conv_layers, read_output_stride


def _common(config: PublishedConfig, encoder: dict[str, Any], width: int) -> dict[str, Any]:
    """Return the keys of both versions, for the options of the encoder and a width of ASPP."""
    encoder |= {
        "kernel": config.integer("conv_kernel_size", 3),
        "patch": config.integer("patch_size", 2),
        "layer_norm_epsilon": config.number("layer_norm_eps", 1e-5),
    }
    if encoder["kernel"] % 2 == 0:
        raise UserError(f"{config.where}: conv_kernel_size is {encoder['kernel']}; supported: odd")
    decoder = {
        "rates": config.integers("atrous_rates", (6, 12, 18)),
        "value_dropout": config.number("aspp_dropout_prob", 0.1),
    }
    if len(decoder["rates"]) != 3:
        raise UserError(f"{config.where}: atrous_rates has not 3 entries")
    return {
        "encoder_options": format_module_options(encoder),
        "output_stride": read_output_stride(config),
        "decoder": "aspp",
        "decoder_options": format_module_options(decoder),
        "decoder_width": config.integer("aspp_out_channels", width),
        "dropout": config.number("classifier_dropout_prob", 0.1),
    }


def _mobilevit(config: PublishedConfig) -> dict[str, Any]:
    encoder = {
        # The last entry is of a convolution that only the classifier has.
        "widths": config.integers("neck_hidden_sizes", (16, 32, 64, 96, 128, 160, 640))[:6],
        "transformer_widths": config.integers("hidden_sizes", (144, 192, 240)),
        "heads": config.integer("num_attention_heads", 4),
        "mlp_expansion": config.number("mlp_ratio", 2.0),
        "expansion": config.number("expand_ratio", 4.0),
        "use_qkv_bias": config.flag("qkv_bias", True),
        "hidden_dropout": config.number("hidden_dropout_prob", 0.1),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.0),
        "block_activation": read_activation(config, "hidden_act", "silu"),
    }
    return {"encoder": "mobilevit", **_common(config, encoder, 256)}


def _mobilevit_v2(config: PublishedConfig) -> dict[str, Any]:
    encoder = {
        "width_multiplier": config.number("width_multiplier", 1.0),
        "attention_widths": config.integers("base_attn_unit_dims", (128, 192, 256)),
        "depths": config.integers("n_attn_blocks", (2, 4, 3)),
        "ffn_multiplier": config.number("ffn_multiplier", 2),
        "ffn_dropout": config.number("ffn_dropout", 0.0),
        "attention_dropout": config.number("attn_dropout", 0.0),
        "expansion": config.number("expand_ratio", 2.0),
        "block_activation": read_activation(config, "hidden_act", "swish"),
    }
    return {"encoder": "mobilevit_v2", **_common(config, encoder, 512)}


_BLOCK = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}
_HEAD = {
    "aspp/point": "aspp.convs.0",
    "aspp/atrous{n}": "aspp.convs.{n}",
    "aspp/pool": "aspp.convs.4.conv_1x1",
    "aspp/project": "aspp.project",
}


def _names(prefix: str) -> dict[str, str]:
    """Return the names of the layers that both versions have, in a model called `prefix`."""
    layer = f"{prefix}.encoder.layer.{{n-1}}"
    blocks = {}
    for path, name in {
        # The first two stages have only inverted residuals.
        "encoder/stage1_block{m}": f"{prefix}.encoder.layer.0.layer.{{m}}",
        "encoder/stage2_block{m}": f"{prefix}.encoder.layer.1.layer.{{m}}",
        "encoder/stage{n}_block0": f"{layer}.downsampling_layer",
    }.items():
        blocks |= under(path, name, _BLOCK)
    return {
        **conv_layers(
            {
                "encoder/stem": f"{prefix}.conv_stem",
                **blocks,
                "encoder/stage{n}_local": f"{layer}.conv_kxk",
                "encoder/stage{n}_project": f"{layer}.conv_projection",
                "encoder/stage{n}_fuse": f"{layer}.fusion",
                **under("decoder", "segmentation_head", _HEAD),
            }
        ),
        "encoder/stage{n}_embed": f"{layer}.conv_1x1.convolution",
        "encoder/stage{n}_norm": f"{layer}.layernorm",
        "head": "segmentation_head.classifier.convolution",
    }


_LAYER = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attention/query_key_value": "attention.attention.query|attention.attention.key|"
    "attention.attention.value",
    "attention/project": "attention.output.dense",
    "expand": "intermediate.dense",
    "contract": "output.dense",
}
_LAYER_V2 = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attention/query_key_value": "attention.qkv_proj.convolution",
    "attention/project": "attention.out_proj.convolution",
    "expand": "ffn.conv1.convolution",
    "contract": "ffn.conv2.convolution",
}


def _architecture(model: Any, prefix: str, layer: dict[str, str]) -> Architecture:
    path, name = (
        "encoder/stage{n}_layer{m}",
        f"{prefix}.encoder.layer.{{n-1}}.transformer.layer.{{m}}",
    )
    rules = _names(prefix) | under(path, name, layer)
    return Architecture(model, layer_names(rules), unused=(f"{prefix}.conv_1x1_exp.",))


MOBILEVIT = _architecture(_mobilevit, "mobilevit", _LAYER)
MOBILEVIT_V2 = _architecture(_mobilevit_v2, "mobilevitv2", _LAYER_V2)
