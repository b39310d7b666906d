"""The models: tables of encoders and decoders, and how a config becomes one."""

from fcnjax.models.build import DTYPES, build_model
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.fold import make_fold
from fcnjax.models.layers import Target, norms_at_rest, sampled_dropout, traced_for
from fcnjax.models.model_spec import Entry
from fcnjax.models.segmenter import Segmenter

__all__ = [
    "DECODERS",
    "DTYPES",
    "ENCODERS",
    "Entry",
    "Segmenter",
    "Target",
    "build_model",
    "make_fold",
    "norms_at_rest",
    "sampled_dropout",
    "traced_for",
]
