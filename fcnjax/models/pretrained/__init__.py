"""Published weights: files of torch and safetensors, read without torch, into a model."""

from fcnjax.models.pretrained.convert import Report, convert
from fcnjax.models.pretrained.reader import read_weights

__all__ = ["Report", "convert", "read_weights"]
