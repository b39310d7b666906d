"""DeepLabV3 over MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381)."""

from collections.abc import Mapping
from typing import Any

from fcnjax.errors import UserError
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import layer_names
from fcnjax.published.activations import read_activation
from fcnjax.published.architecture import Architecture, PublishedConfig

OUTPUT_STRIDES = (8, 16, 32)
PARTS = {"conv": "convolution", "norm": "normalization"}


def conv_layers(names: Mapping[str, str]) -> dict[str, str]:
    """Return rules for `ConvNormAct` blocks, whose convolution and norm have names of their own."""
    return {
        f"{path}/{part}": f"{name}.{theirs}"
        for path, name in names.items()
        for part, theirs in PARTS.items()
    }


def read_output_stride(config: PublishedConfig) -> int:
    """Return the output stride.

    Raises:
        UserError: It is not supported.
    """
    stride = config.integer("output_stride", 32)
    if stride not in OUTPUT_STRIDES:
        valid = ", ".join(map(str, OUTPUT_STRIDES))
        raise UserError(f"{config.where}: output_stride is {stride}; supported: {valid}")
    return stride


def _model(config: PublishedConfig) -> dict[str, Any]:
    encoder = {
        "depth_multiplier": config.number("depth_multiplier", 1.0),
        "divisor": config.integer("depth_divisible_by", 8),
        "min_depth": config.integer("min_depth", 8),
        "expansion": config.number("expand_ratio", 6.0),
        "expands_first": not config.flag("first_layer_is_expansion", True),
        "tf_padding": config.flag("tf_padding", True),
        "block_activation": read_activation(config, "hidden_act", "relu6"),
        "epsilon": config.number("layer_norm_eps", 1e-3),
    }
    decoder = {"rates": (), "pool_first": True, "value_dropout": 0.0}
    return {
        "encoder": "mobilenet_v2_tf",
        "encoder_options": format_module_options(encoder),
        "output_stride": read_output_stride(config),
        "decoder": "aspp",
        "decoder_options": format_module_options(decoder),
        "decoder_width": 256,
        "dropout": config.number("classifier_dropout_prob", 0.8),
    }


_STEM = "mobilenet_v2.conv_stem"
_BLOCK = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}
_NAMES = conv_layers(
    {
        "encoder/stem": f"{_STEM}.first_conv",
        **{f"encoder/block0/{ours}": f"{_STEM}.{name}" for ours, name in _BLOCK.items()},
        **{
            f"encoder/block{{n}}/{ours}": f"mobilenet_v2.layer.{{n-1}}.{name}"
            for ours, name in _BLOCK.items()
        },
        "decoder/aspp/point": "segmentation_head.conv_aspp",
        "decoder/aspp/pool": "segmentation_head.conv_pool",
        "decoder/aspp/project": "segmentation_head.conv_projection",
    }
)
MOBILENET_V2 = Architecture(
    _model,
    layer_names(_NAMES | {"head": "segmentation_head.classifier.convolution"}),
    unused=("mobilenet_v2.conv_1x1.",),
)
