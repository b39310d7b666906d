"""Published weights: torch and safetensors files, read into a model without torch."""

from fcnjax.models.pretrained.convert import Report, convert
from fcnjax.models.pretrained.reader import read_weights

__all__ = ["Report", "convert", "read_weights"]
