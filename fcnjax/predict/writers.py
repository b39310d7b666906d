"""Predictions as files."""

from pathlib import Path

import numpy as np
from PIL import Image

from fcnjax.files import atomic
from fcnjax.pictures import overlay
from fcnjax.predict.model import Prediction


def write_prediction(
    folder: str | Path, stem: str, image: np.ndarray, prediction: Prediction, palette: np.ndarray
) -> None:
    """Writes `STEM_mask.png`, `STEM_overlay.png` and, if there are any, `STEM_probabilities.npy`.

    Args:
        folder: Made if it is not there.
        stem: The first part of the files' names.
        image: `[H, W, C]` as read.
        prediction: What the model said of it.
        palette: `[C, 3]` uint8 RGB.

    Raises:
        UserError: A file cannot be written; names it. No file is left half-written.
    """
    folder = Path(folder)
    mask = Image.fromarray(prediction.mask)
    if prediction.mask.dtype == np.uint8:
        mask = mask.convert("P")
        mask.putpalette(np.asarray(palette, np.uint8).tobytes())
    with atomic(folder / f"{stem}_mask.png") as path:
        mask.save(path)
    with atomic(folder / f"{stem}_overlay.png") as path:
        Image.fromarray(overlay(image, prediction.mask, palette)).save(path)
    if prediction.probabilities is not None:
        with atomic(folder / f"{stem}_probabilities.npy") as path:
            np.save(path, prediction.probabilities)
