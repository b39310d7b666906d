"""SegFormer: Mix Transformers with their decoder (Xie et al. 2021, arXiv:2105.15203)."""

from typing import Any

from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.layouts.rules import layer_names, under
from fcnjax.published.architecture import Architecture, PublishedConfig


def _model(config: PublishedConfig) -> dict[str, Any]:
    config.require("hidden_act", "gelu")
    encoder = {
        "depths": config.integers("depths", (2, 2, 2, 2)),
        "widths": config.integers("hidden_sizes", (32, 64, 160, 256)),
        "heads": config.integers("num_attention_heads", (1, 2, 5, 8)),
        "reductions": config.integers("sr_ratios", (8, 4, 2, 1)),
        "expansions": config.numbers("mlp_ratios", (4, 4, 4, 4)),
        "patches": config.integers("patch_sizes", (7, 3, 3, 3)),
        "patch_strides": config.integers("strides", (4, 2, 2, 2)),
        "epsilon": 1e-5,
    }
    return {
        "encoder": "mit",
        "encoder_options": format_module_options(encoder),
        "decoder": "segformer",
        "decoder_width": config.integer("decoder_hidden_size", 256),
        "dropout": config.number("classifier_dropout_prob", 0.1),
        "drop_path": config.number("drop_path_rate", 0.1),
        "align_corners": False,
    }


_BLOCK = {
    "norm{k}": "layer_norm_{k}",
    "attention/query": "attention.self.query",
    "attention/key_value": "attention.self.key|attention.self.value",
    "attention/reduce": "attention.self.sr",
    "attention/reduce_norm": "attention.self.layer_norm",
    "attention/project": "attention.output.dense",
    "expand": "mlp.dense1",
    "depthwise": "mlp.dwconv.dwconv",
    "contract": "mlp.dense2",
}
_NAMES = {
    "encoder/embed{n}": "segformer.encoder.patch_embeddings.{n-1}.proj",
    "encoder/embed{n}_norm": "segformer.encoder.patch_embeddings.{n-1}.layer_norm",
    "encoder/stage{n}_norm": "segformer.encoder.layer_norm.{n-1}",
    **under("encoder/stage{n}_block{m}", "segformer.encoder.block.{n-1}.{m}", _BLOCK),
    # Deepest first.
    "decoder/project{n}": "decode_head.linear_c.{3-n}.proj",
    "decoder/fuse/conv": "decode_head.linear_fuse",
    "decoder/fuse/norm": "decode_head.batch_norm",
    "head": "decode_head.classifier",
}
SEGFORMER = Architecture(_model, layer_names(_NAMES))
