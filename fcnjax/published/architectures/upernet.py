"""UPerNet (Xiao et al. 2018, arXiv:1807.10221) over the backbones of transformers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fcnjax.errors import choose
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import Path, layer_names, under
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.architectures.swin import SWIN_NAMES, SWIN_UNUSED, swin_model

STAGES = ["stage1", "stage2", "stage3", "stage4"]


class Backbone(NamedTuple):
    """A backbone of UPerNet.

    Attributes:
        model: From its section of `config.json` to keys of `config.model` of the encoder.
        names: The names of its layers, without `backbone.`.
        epsilon: Of the layer norms that the decoder applies to its features; None where the
            encoder normalises them.
    """

    model: Callable[[PublishedConfig], dict[str, Any]]
    names: Mapping[str, str]
    epsilon: float | None


def _convnext(config: PublishedConfig) -> dict[str, Any]:
    config.require("hidden_act", "gelu")
    config.require("patch_size", 4)
    options = {
        "depths": config.integers("depths", (3, 3, 9, 3)),
        "widths": config.integers("hidden_sizes", (96, 192, 384, 768)),
    }
    return {
        "encoder": "convnext",
        "encoder_options": format_module_options(options),
        "drop_path": config.number("drop_path_rate", 0.0),
    }


_CONVNEXT = {
    "stem": "embeddings.patch_embeddings",
    "stem_norm": "embeddings.layernorm",
    "down{n}_norm": "encoder.stages.{n-1}.downsampling_layer.0",
    "down{n}": "encoder.stages.{n-1}.downsampling_layer.1",
    "stage{n}_block{m}": "encoder.stages.{n-1}.layers.{m}",
    "stage{n}_block{m}/depthwise": "encoder.stages.{n-1}.layers.{m}.dwconv",
    "stage{n}_block{m}/norm": "encoder.stages.{n-1}.layers.{m}.layernorm",
    "stage{n}_block{m}/expand": "encoder.stages.{n-1}.layers.{m}.pwconv1",
    "stage{n}_block{m}/contract": "encoder.stages.{n-1}.layers.{m}.pwconv2",
}
BACKBONES: Mapping[str, Backbone] = {
    "convnext": Backbone(_convnext, _CONVNEXT, 1e-6),
    "swin": Backbone(swin_model, SWIN_NAMES, None),
}
# Of the decoder; `pool{n}`, whose numbers are those of the grids, is named apart.
_DECODER = {
    "decoder/norm{n}": "backbone.hidden_states_norms.stage{n+1}",
    "decoder/context/conv": "decode_head.bottleneck.conv",
    "decoder/context/norm": "decode_head.bottleneck.batch_norm",
    # Deepest first.
    "decoder/lateral{n}/conv": "decode_head.lateral_convs.{2-n}.conv",
    "decoder/lateral{n}/norm": "decode_head.lateral_convs.{2-n}.batch_norm",
    "decoder/smooth{n}/conv": "decode_head.fpn_convs.{2-n}.conv",
    "decoder/smooth{n}/norm": "decode_head.fpn_convs.{2-n}.batch_norm",
    "decoder/fuse/conv": "decode_head.fpn_bottleneck.conv",
    "decoder/fuse/norm": "decode_head.fpn_bottleneck.batch_norm",
    "head": "decode_head.classifier",
}


def _backbone(config: PublishedConfig) -> tuple[PublishedConfig, Backbone]:
    section = config.section("backbone_config")
    kind = section.text("model_type")
    return section, choose(BACKBONES, kind, f"{section.where}: model_type")


def _model(config: PublishedConfig) -> dict[str, Any]:
    section, backbone = _backbone(config)
    section.require("out_features", STAGES)
    decoder = {
        "bins": config.integers("pool_scales", (1, 2, 3, 6)),
        "feature_norm": backbone.epsilon is not None,
        "epsilon": backbone.epsilon,
        "min_stride": 1,
    }
    return {
        **backbone.model(section),
        "decoder": "upernet",
        "decoder_width": config.integer("hidden_size", 512),
        "decoder_options": format_module_options(decoder),
        "align_corners": False,
    }


def _layer_names(model: Any, path: Path) -> str | None:
    bins, encoder = model.decoder.bins, type(model.encoder).__name__.lower()
    names = under("encoder", "backbone", BACKBONES[encoder].names)
    for i, side in enumerate(bins):
        for part, name in (("conv", "conv"), ("norm", "batch_norm")):
            names[f"decoder/pool{side}/{part}"] = f"decode_head.psp_modules.{i}.1.{name}"
    return layer_names(names | _DECODER)(model, path)


UPERNET = Architecture(
    _model,
    _layer_names,
    leaves={"gamma": "layer_scale_parameter"},
    unused=("auxiliary_head.", *(f"backbone.{name}" for name in SWIN_UNUSED)),
)
