"""The models: tables of encoders and decoders, and how a config becomes one."""

from fcnjax.models.build import build_model
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.entry import Entry
from fcnjax.models.segmenter import Segmenter

__all__ = ["DECODERS", "ENCODERS", "Entry", "Segmenter", "build_model"]
