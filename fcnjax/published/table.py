"""The table of architectures, by their class in transformers."""

from collections.abc import Mapping

from fcnjax.published.architecture import Architecture
from fcnjax.published.architectures.beit import BEIT, DATA2VEC
from fcnjax.published.architectures.dpt import DPT
from fcnjax.published.architectures.eomt import EOMT, EOMT_DINOV3
from fcnjax.published.architectures.mask2former import MASK2FORMER
from fcnjax.published.architectures.mobilenet_v2 import MOBILENET_V2
from fcnjax.published.architectures.mobilevit import MOBILEVIT, MOBILEVIT_V2
from fcnjax.published.architectures.segformer import SEGFORMER
from fcnjax.published.architectures.upernet import UPERNET

ARCHITECTURES: Mapping[str, Architecture] = {
    "BeitForSemanticSegmentation": BEIT,
    "DPTForSemanticSegmentation": DPT,
    "Data2VecVisionForSemanticSegmentation": DATA2VEC,
    "EomtDinov3ForUniversalSegmentation": EOMT_DINOV3,
    "EomtForUniversalSegmentation": EOMT,
    "Mask2FormerForUniversalSegmentation": MASK2FORMER,
    "MobileNetV2ForSemanticSegmentation": MOBILENET_V2,
    "MobileViTForSemanticSegmentation": MOBILEVIT,
    "MobileViTV2ForSemanticSegmentation": MOBILEVIT_V2,
    "SegformerForSemanticSegmentation": SEGFORMER,
    "UperNetForSemanticSegmentation": UPERNET,
}
