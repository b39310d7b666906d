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
    SeparableConv,
    he_normal,
    he_normal_fan_in,
    lecun_normal,
)
from fcnjax.models.layers.convolution.conv_norm_act import ConvModule, ConvNormAct, conv_norm_act
from fcnjax.models.layers.convolution.rearrange import space_to_batch, space_to_batch_factor
from fcnjax.models.layers.convolution.transposed import (
    BilinearConvTranspose,
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
from fcnjax.models.layers.resize import resize_corners_like, resize_like, resize_nearest_like

__all__ = [
    "ACTIVATIONS",
    "ATTENTIONS",
    "EPSILON",
    "FOLDED",
    "NORMS",
    "SCSE",
    "BatchNorm",
    "BilinearConvTranspose",
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
    "Platform",
    "ReducedAttention",
    "SeparableConv",
    "SpatialDropout",
    "SqueezeExcite",
    "activate",
    "adaptive_mean",
    "add",
    "batch_norm_inference",
    "compile_for",
    "concat",
    "conv_norm_act",
    "crop_edges",
    "crop_or_pad_like",
    "current_platform",
    "dropout",
    "global_mean",
    "he_normal",
    "he_normal_fan_in",
    "lecun_normal",
    "linear_init",
    "map_data",
    "max_pool",
    "mean_pool",
    "mirror_pad",
    "resize_corners_like",
    "resize_like",
    "resize_nearest_like",
    "sampled_dropout",
    "space_to_batch",
    "space_to_batch_factor",
    "unpool_like",
    "zero_outside",
]
