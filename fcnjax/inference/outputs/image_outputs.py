"""Table of the outputs of an image. NumPy is not imported here, for the help of commands."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class OutputSpec(NamedTuple):
    """An output of an image, which a function of `image_writers` writes.

    Attributes:
        suffix: Appended to the stem of the image to name the file.
        summary: Content of the file, for the help.
        needs_probabilities: Whether the output is made from the probabilities.
    """

    suffix: str
    summary: str
    needs_probabilities: bool = False


OUTPUTS: Mapping[str, OutputSpec] = MappingProxyType(
    {
        "mask": OutputSpec("_mask.png", "class ids"),
        "overlay": OutputSpec("_overlay.png", "classes over the image, the background clear"),
        "confidence": OutputSpec("_confidence.png", "probability of the predicted class", True),
        "entropy": OutputSpec("_entropy.png", "normalised entropy", True),
        "probabilities": OutputSpec("_probabilities.npy", "of all classes", True),
        "components": OutputSpec("_components.json", "regions as COCO JSON"),
    }
)
