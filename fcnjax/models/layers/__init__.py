"""Every spatial operation of the models; encoders and decoders use only these.

All of them map a `FeatureMap` to a `FeatureMap`. Its optional extent makes padding invisible: a
model applied to padded examples computes, within each extent, what it computes for the bare image.
"""

from fcnjax.models.layers.attention import (
    ATTENTIONS,
    SCSE,
    ReducedAttention,
    SqueezeExcite,
    linear_init,
)
from fcnjax.models.layers.convolution.conv import (
    FOLDED,
    Conv,
    ResizedMaps,
    SeparableConv,
    he_normal,
    he_normal_fan_in,
    lecun_normal,
)
from fcnjax.models.layers.convolution.conv_norm_act import ConvModule, ConvNormAct, conv_norm_act
from fcnjax.models.layers.convolution.rearrange import space_to_batch, space_to_batch_factor
from fcnjax.models.layers.convolution.tf_padding import pad_like_tensorflow
from fcnjax.models.layers.convolution.transposed import (
    BilinearConvTranspose,
    BlockConvTranspose,
    ConvTranspose2x,
    ConvTranspose3x3,
    ConvTranspose4x4,
)
from fcnjax.models.layers.dropout import DropPath, SpatialDropout, dropout, sampled_dropout
from fcnjax.models.layers.feature_map import (
    FeatureMap,
    add,
    concat,
    crop_or_pad_like,
    map_data,
    zero_outside,
)
from fcnjax.models.layers.mirror import crop_edges, mirror_pad
from fcnjax.models.layers.norm import (
    ACTIVATIONS,
    EPSILON,
    NORMS,
    BatchNorm,
    GroupNorm,
    LayerNorm,
    activate,
    batch_norm_inference,
)
from fcnjax.models.layers.platform import Platform, compile_for, current_platform
from fcnjax.models.layers.pooling import (
    adaptive_mean,
    global_mean,
    max_pool,
    mean_pool,
    unpool_like,
)
from fcnjax.models.layers.resize import (
    resize_and_reduce,
    resize_corners_like,
    resize_like,
    resize_nearest_like,
)
from fcnjax.models.layers.tokens.learned_positions import LearnedPositions
from fcnjax.models.layers.tokens.patch_merging import merge_patches
from fcnjax.models.layers.tokens.query_scores import query_scores
from fcnjax.models.layers.tokens.token_map import (
    LearnedTokens,
    TokenMap,
    from_sequence,
    prepend_tokens,
    sequence_mask,
    to_sequence,
)
from fcnjax.models.layers.transformer.patch_attention import (
    PatchAttention,
    SeparableAttention,
    crop_to_multiple,
    restore_size,
    round_up_map,
)
from fcnjax.models.layers.transformer.rotary import (
    Rotation,
    augment_coordinates,
    axial_rotation,
    grid_coordinates,
    pass_tokens,
)
from fcnjax.models.layers.transformer.vit_block import BlockOptions, TransformerBlock
from fcnjax.models.layers.transformer.windows import WindowAttention

__all__ = [
    "ACTIVATIONS",
    "ATTENTIONS",
    "EPSILON",
    "FOLDED",
    "NORMS",
    "SCSE",
    "BatchNorm",
    "BilinearConvTranspose",
    "BlockConvTranspose",
    "BlockOptions",
    "Conv",
    "ConvModule",
    "ConvNormAct",
    "ConvTranspose2x",
    "ConvTranspose3x3",
    "ConvTranspose4x4",
    "DropPath",
    "FeatureMap",
    "GroupNorm",
    "LayerNorm",
    "LearnedPositions",
    "LearnedTokens",
    "PatchAttention",
    "Platform",
    "ReducedAttention",
    "ResizedMaps",
    "Rotation",
    "SeparableAttention",
    "SeparableConv",
    "SpatialDropout",
    "SqueezeExcite",
    "TokenMap",
    "TransformerBlock",
    "WindowAttention",
    "activate",
    "adaptive_mean",
    "add",
    "augment_coordinates",
    "axial_rotation",
    "batch_norm_inference",
    "compile_for",
    "concat",
    "conv_norm_act",
    "crop_edges",
    "crop_or_pad_like",
    "crop_to_multiple",
    "current_platform",
    "dropout",
    "from_sequence",
    "global_mean",
    "grid_coordinates",
    "he_normal",
    "he_normal_fan_in",
    "lecun_normal",
    "linear_init",
    "map_data",
    "max_pool",
    "mean_pool",
    "merge_patches",
    "mirror_pad",
    "pad_like_tensorflow",
    "pass_tokens",
    "prepend_tokens",
    "query_scores",
    "resize_and_reduce",
    "resize_corners_like",
    "resize_like",
    "resize_nearest_like",
    "restore_size",
    "round_up_map",
    "sampled_dropout",
    "sequence_mask",
    "space_to_batch",
    "space_to_batch_factor",
    "to_sequence",
    "unpool_like",
    "zero_outside",
]
