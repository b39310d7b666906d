"""Held-out images of a report, beside their labels and predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fcnjax.io import pictures
from fcnjax.metrics import compute, confusion_matrix, percent

LONGEST_SIDE = 700  # pixels of a picture in the report


def describe_example(
    example: Mapping[str, Any],
    names: Sequence[str],
    palette: pictures.Palette,
    ignore_label: int,
) -> dict[str, Any]:
    """Return the name of an example, its score, and its pictures as data URIs by caption."""
    label, prediction = np.asarray(example["label"]), np.asarray(example["prediction"])
    difference = pictures.difference(label, prediction, len(names), ignore_label)
    return {
        "name": str(example["name"]),
        "score": _score(label, prediction, names, ignore_label),
        "panels": {
            "image": _embed(pictures.to_rgb(np.asarray(example["image"])), photo=True),
            "truth": _embed(pictures.colorize(label, palette)),
            "prediction": _embed(pictures.colorize(prediction, palette)),
            "difference": _embed(difference),
        },
    }


def _score(
    label: np.ndarray, prediction: np.ndarray, names: Sequence[str], ignore_label: int
) -> str:
    scores = compute(confusion_matrix(label, prediction, len(names), ignore_label), names)
    if len(names) == 2:
        return f"Dice, {names[1]}: {percent(scores['dice'][names[1]])}"
    return f"mean IoU: {percent(scores['mean_iou'])}"


def _embed(picture: np.ndarray, photo: bool = False) -> str:
    """Return an RGB picture as a data URI: JPEG for a photo, PNG for coloured classes."""
    image = Image.fromarray(picture)
    scale = LONGEST_SIDE / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        # A blend of the colours of two classes would be the colour of no class.
        image = image.resize(size, Image.Resampling.BOX if photo else Image.Resampling.NEAREST)
    if photo:
        return pictures.data_uri(image, "JPEG", quality=88)
    return pictures.data_uri(image, "PNG", optimize=True)
