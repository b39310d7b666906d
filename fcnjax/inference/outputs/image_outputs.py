"""Table of the outputs of an image, and their writers."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from fcnjax.inference.outputs.coco import to_coco
from fcnjax.inference.postprocess import confidence, entropy
from fcnjax.io.atomic_files import atomic
from fcnjax.io.pictures import overlay

if TYPE_CHECKING:
    from fcnjax.inference.model import Prediction


class PredictedImage(NamedTuple):
    """An image with its prediction.

    Attributes:
        source: Name of the file.
        image: `[H, W, C]` as read.
        prediction: The prediction.
        palette: `[C, 3]` uint8 RGB.
        class_names: Class names, indexed by class id.
    """

    source: str
    image: np.ndarray
    prediction: "Prediction"
    palette: np.ndarray
    class_names: Sequence[str]


class OutputSpec(NamedTuple):
    """An output of an image.

    Attributes:
        suffix: Appended to the stem of the image to name the file.
        summary: Content of the file, for the help.
        write: `write(path, predicted)` writes the file.
        needs_probabilities: Whether the output is made from the probabilities.
    """

    suffix: str
    summary: str
    write: Callable[[Path, PredictedImage], None]
    needs_probabilities: bool = False


# Scores `[H, W]` in 0..1 of a prediction.
SCORES: Mapping[str, Callable[["Prediction"], np.ndarray]] = MappingProxyType(
    {
        "confidence": lambda prediction: confidence(prediction.probabilities, prediction.mask),
        "entropy": lambda prediction: entropy(prediction.probabilities),
    }
)


def mask_image(mask: np.ndarray, palette: np.ndarray) -> Image.Image:
    """Return the image that is saved for a mask `[H, W]`: class ids, with a palette if uint8."""
    image = Image.fromarray(mask)
    if mask.dtype == np.uint8:
        image = image.convert("P")
        image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


def to_uint16(share: np.ndarray) -> np.ndarray:
    """Return values in 0..1 as 16-bit grey, which any viewer shows."""
    return (np.clip(share, 0, 1) * 65535).round().astype(np.uint16)


def _write_mask(path: Path, predicted: PredictedImage) -> None:
    mask_image(predicted.prediction.mask, predicted.palette).save(path)


def _write_overlay(path: Path, predicted: PredictedImage) -> None:
    mask, names = predicted.prediction.mask, predicted.class_names
    Image.fromarray(overlay(predicted.image, mask, names, predicted.palette)).save(path)


def _write_score(path: Path, predicted: PredictedImage, name: str) -> None:
    Image.fromarray(to_uint16(SCORES[name](predicted.prediction))).save(path)


def _write_probabilities(path: Path, predicted: PredictedImage) -> None:
    np.save(path, predicted.prediction.probabilities)


def _write_components(path: Path, predicted: PredictedImage) -> None:
    file_name = Path(predicted.source).name
    content = to_coco(predicted.prediction.mask, predicted.class_names, file_name)
    path.write_text(json.dumps(content), encoding="utf-8")


OUTPUTS: Mapping[str, OutputSpec] = MappingProxyType(
    {
        "mask": OutputSpec("_mask.png", "class ids", _write_mask),
        "overlay": OutputSpec(
            "_overlay.png", "classes over the image, the background clear", _write_overlay
        ),
        "confidence": OutputSpec(
            "_confidence.png",
            "probability of the predicted class",
            partial(_write_score, name="confidence"),
            needs_probabilities=True,
        ),
        "entropy": OutputSpec(
            "_entropy.png",
            "normalised entropy",
            partial(_write_score, name="entropy"),
            needs_probabilities=True,
        ),
        "probabilities": OutputSpec(
            "_probabilities.npy",
            "of all classes",
            _write_probabilities,
            needs_probabilities=True,
        ),
        "components": OutputSpec("_components.json", "regions as COCO JSON", _write_components),
    }
)


def write_outputs(
    folder: str | Path, stem: str, predicted: PredictedImage, outputs: Sequence[str]
) -> str | None:
    """Write the outputs of an image, each atomically.

    Args:
        folder: The output folder, created if necessary.
        stem: First part of the file names.
        predicted: The image.
        outputs: Names from `OUTPUTS`.

    Returns:
        Name of the mask file, or None if `outputs` has no mask.

    Raises:
        UserError: A file cannot be written.
    """
    for name in outputs:
        with atomic(Path(folder) / f"{stem}{OUTPUTS[name].suffix}") as path:
            OUTPUTS[name].write(path, predicted)
    return f"{stem}{OUTPUTS['mask'].suffix}" if "mask" in outputs else None
