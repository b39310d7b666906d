"""Torch's names of the layers of our models, in the files that others publish."""

from fcnjax.models.pretrained.layouts.rules import LayerName, Path
from fcnjax.models.pretrained.layouts.table import (
    DECODER_LAYOUTS,
    STYLES,
    Layout,
    decoder_layout,
    encoder_layouts,
)

__all__ = [
    "DECODER_LAYOUTS",
    "STYLES",
    "LayerName",
    "Layout",
    "Path",
    "decoder_layout",
    "encoder_layouts",
]
