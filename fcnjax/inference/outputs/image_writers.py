"""Writers of the outputs of an image."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from fcnjax.inference.outputs.coco import to_coco
from fcnjax.inference.outputs.image_outputs import OUTPUTS
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


# `write(path, predicted)` writes the file of an output in `OUTPUTS`.
WRITERS: Mapping[str, Callable[[Path, PredictedImage], None]] = MappingProxyType(
    {
        "mask": _write_mask,
        "overlay": _write_overlay,
        "confidence": partial(_write_score, name="confidence"),
        "entropy": partial(_write_score, name="entropy"),
        "probabilities": _write_probabilities,
        "components": _write_components,
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
            WRITERS[name](path, predicted)
    return f"{stem}{OUTPUTS['mask'].suffix}" if "mask" in outputs else None
