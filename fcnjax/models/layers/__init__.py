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
from fcnjax.models.layers.convolution.space_to_batch import phases_of, with_phases
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
    crop_or_extend,
    map_data,
    zero_outside,
)
from fcnjax.models.layers.frozen_norms import norms_at_rest
from fcnjax.models.layers.mirror import crop_edges, mirror_pad
from fcnjax.models.layers.norm import ACTIVATIONS, NORMS, BatchNorm, GroupNorm, LayerNorm, activated
from fcnjax.models.layers.platform import Target, target, traced_for
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
    "ReducedAttention",
    "SeparableConv",
    "SpatialDropout",
    "SqueezeExcite",
    "Target",
    "activated",
    "adaptive_mean",
    "add",
    "concat",
    "crop_edges",
    "crop_or_extend",
    "dropout",
    "global_mean",
    "he_normal",
    "linear_init",
    "map_data",
    "max_pool",
    "mean_pool",
    "mirror_pad",
    "normed",
    "norms_at_rest",
    "phases_of",
    "resize_corners_like",
    "resize_like",
    "resize_nearest_like",
    "sampled_dropout",
    "tap_init",
    "target",
    "traced_for",
    "unpool_like",
    "with_phases",
    "zero_outside",
]
