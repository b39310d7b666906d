"""Models: the tables of encoders and decoders, and building a model from a config."""

from fcnjax.models.build import DTYPES, build_model
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.fold_batch_norm import make_fold_fn
from fcnjax.models.input_size import (
    check_resize,
    depends_on_image,
    input_size,
    resize_input,
    resize_map,
    set_input_size,
)
from fcnjax.models.layers import (
    FeatureMap,
    Platform,
    batch_norm_inference,
    compile_for,
    sampled_dropout,
)
from fcnjax.models.model_spec import ModelSpec
from fcnjax.models.segmenter import Segmenter
from fcnjax.models.split_image import restore_logits, show_input

__all__ = [
    "DECODERS",
    "DTYPES",
    "ENCODERS",
    "FeatureMap",
    "ModelSpec",
    "Platform",
    "Segmenter",
    "batch_norm_inference",
    "build_model",
    "check_resize",
    "compile_for",
    "depends_on_image",
    "input_size",
    "make_fold_fn",
    "resize_input",
    "resize_map",
    "restore_logits",
    "sampled_dropout",
    "set_input_size",
    "show_input",
]
