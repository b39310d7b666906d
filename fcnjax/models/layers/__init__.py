"""Every spatial operation that the models use; encoders and decoders call nothing below these.

All of them take and give a `FeatureMap`, whose optional extent makes padding invisible: a model run
on padded examples gives, inside each one's extent, what it gives for the bare image.
"""

from fcnjax.models.layers.attention import ReducedAttention, linear_init
from fcnjax.models.layers.convolution.conv import (
    FOLDED,
    Conv,
    ConvNormAct,
    he_normal,
    normed,
    tap_init,
)
from fcnjax.models.layers.convolution.separable import SeparableConv
from fcnjax.models.layers.convolution.space_to_batch import batch_factor_of, space_to_batch
from fcnjax.models.layers.convolution.transposed import (
    BilinearConvTranspose,
    ConvTranspose2x,
    ConvTranspose3x3,
    ConvTranspose4x4,
)
from fcnjax.models.layers.drop_path import DropPath
from fcnjax.models.layers.dropout import SpatialDropout, dropout, sampled_dropout
from fcnjax.models.layers.feature_map import (
    FeatureMap,
    add,
    concat,
    crop_or_pad_like,
    map_data,
    zero_outside,
)
from fcnjax.models.layers.frozen_norms import batch_norm_inference
from fcnjax.models.layers.mirror import crop_edges, mirror_pad
from fcnjax.models.layers.norm import ACTIVATIONS, NORMS, BatchNorm, GroupNorm, LayerNorm, activated
from fcnjax.models.layers.platform import Platform, compile_for, current_platform
from fcnjax.models.layers.pooling.adaptive_pool import adaptive_mean
from fcnjax.models.layers.pooling.pool import global_mean, max_pool, mean_pool
from fcnjax.models.layers.pooling.unpool import unpool_like
from fcnjax.models.layers.resample import resize_corners_like, resize_nearest_like
from fcnjax.models.layers.resize import resize_like
from fcnjax.models.layers.scse import ATTENTIONS, SCSE
from fcnjax.models.layers.squeeze import SqueezeExcite

__all__ = [
    "ACTIVATIONS",
    "ATTENTIONS",
    "FOLDED",
    "NORMS",
    "SCSE",
    "BatchNorm",
    "BilinearConvTranspose",
    "Conv",
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
    "activated",
    "adaptive_mean",
    "add",
    "batch_factor_of",
    "batch_norm_inference",
    "compile_for",
    "concat",
    "crop_edges",
    "crop_or_pad_like",
    "current_platform",
    "dropout",
    "global_mean",
    "he_normal",
    "linear_init",
    "map_data",
    "max_pool",
    "mean_pool",
    "mirror_pad",
    "normed",
    "resize_corners_like",
    "resize_like",
    "resize_nearest_like",
    "sampled_dropout",
    "space_to_batch",
    "tap_init",
    "unpool_like",
    "zero_outside",
]
