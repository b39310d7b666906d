"""What is written for an image: a table of outputs, and the ending of each file's name."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.coco import to_coco
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.postprocess import confidence, entropy
from fcnjax.io.atomic_files import atomic
from fcnjax.io.pictures import overlay


class PredictedImage(NamedTuple):
    """An image and what is known of it.

    Attributes:
        source: The file's name.
        image: `[H, W, C]` as read.
        prediction: What the model said of it.
        palette: `[C, 3]` uint8 RGB.
        class_names: The names of its classes, by id.
    """

    source: str
    image: np.ndarray
    prediction: Prediction
    palette: np.ndarray
    class_names: Sequence[str]


Write = Callable[[Path, PredictedImage], None]


class Output(NamedTuple):
    """A kind of file.

    Attributes:
        write: Writes it to a path.
        takes_probabilities: Whether it is made of the probabilities.
    """

    write: Write
    takes_probabilities: bool


def _write_mask(path: Path, of: PredictedImage) -> None:
    mask_picture(of.prediction.mask, of.palette).save(path)


def _write_overlay(path: Path, of: PredictedImage) -> None:
    Image.fromarray(overlay(of.image, of.prediction.mask, of.palette)).save(path)


def _write_confidence(path: Path, of: PredictedImage) -> None:
    _save_share(path, confidence(of.prediction.probabilities, of.prediction.mask))


def _write_entropy(path: Path, of: PredictedImage) -> None:
    _save_share(path, entropy(of.prediction.probabilities))


def _write_probabilities(path: Path, of: PredictedImage) -> None:
    np.save(path, of.prediction.probabilities)


def _write_components(path: Path, of: PredictedImage) -> None:
    found = to_coco(of.prediction.mask, of.class_names, Path(of.source).name)
    path.write_text(json.dumps(found), encoding="utf-8")


def _save_share(path: Path, share: np.ndarray) -> None:
    Image.fromarray(share_of_16_bits(share)).save(path)


def share_of_16_bits(share: np.ndarray) -> np.ndarray:
    """0..1 as grey of 16 bits, which any viewer shows."""
    return (np.clip(share, 0, 1) * 65535).round().astype(np.uint16)


OUTPUTS: Mapping[str, Output] = MappingProxyType(
    {
        "mask": Output(_write_mask, False),
        "overlay": Output(_write_overlay, False),
        "confidence": Output(_write_confidence, True),
        "entropy": Output(_write_entropy, True),
        "probabilities": Output(_write_probabilities, True),
        "components": Output(_write_components, False),
    }
)


def mask_picture(mask: np.ndarray, palette: np.ndarray) -> Image.Image:
    """The picture that is saved of a mask `[H, W]`: class ids, and if uint8 the palette."""
    picture = Image.fromarray(mask)
    if mask.dtype == np.uint8:
        picture = picture.convert("P")
        picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    return picture


def write_outputs(
    folder: str | Path, stem: str, labelled: PredictedImage, outputs: Sequence[str]
) -> None:
    """Writes a file for each of the outputs, its name the stem and the ending in `ENDINGS`.

    Args:
        folder: Made if it is not there.
        stem: The first part of the files' names.
        labelled: The image.
        outputs: Names in `OUTPUTS`.

    Raises:
        UserError: A file cannot be written; names it. No file is left half-written.
    """
    for name in outputs:
        with atomic(Path(folder) / f"{stem}{ENDINGS[name]}") as path:
            OUTPUTS[name].write(path, labelled)
