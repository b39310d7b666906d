"""The table of architectures, by their class in transformers."""

from collections.abc import Mapping

from fcnjax.published.architecture import Architecture
from fcnjax.published.architectures.segformer import SEGFORMER
from fcnjax.published.architectures.upernet import UPERNET

ARCHITECTURES: Mapping[str, Architecture] = {
    "SegformerForSemanticSegmentation": SEGFORMER,
    "UperNetForSemanticSegmentation": UPERNET,
}
