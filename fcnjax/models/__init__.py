"""The models: tables of encoders and decoders, and how a config becomes one."""

from fcnjax.models.build import DTYPES, build_model
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.fold import make_fold
from fcnjax.models.layers import Platform, batch_norm_inference, compile_for, sampled_dropout
from fcnjax.models.model_spec import ModelSpec
from fcnjax.models.segmenter import Segmenter

__all__ = [
    "DECODERS",
    "DTYPES",
    "ENCODERS",
    "ModelSpec",
    "Platform",
    "Segmenter",
    "batch_norm_inference",
    "build_model",
    "compile_for",
    "make_fold",
    "sampled_dropout",
]
