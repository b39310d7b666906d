"""Where the layers of our models lie in the files that others publish.

A `LayerName` takes one of our modules and the path of a layer in it, and gives torch's name of that
layer; None where that published form has no such layer. `table.py` lists them.
"""

from fcnjax.models.pretrained.layouts.table import (
    DECODER_LAYOUTS,
    STYLES,
    LayerName,
    Layout,
    Path,
    encoder_layouts,
    model_layer,
)

__all__ = [
    "DECODER_LAYOUTS",
    "STYLES",
    "LayerName",
    "Layout",
    "Path",
    "encoder_layouts",
    "model_layer",
]
