"""The file `examples.npz`: a few held-out images with label and prediction, to compare runs.

Which images are stored depends on their number alone, so that runs with the same held-out images
store the same ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.errors import UserError
from fcnjax.io import pictures
from fcnjax.io.atomic_files import atomic
from fcnjax.io.numpy_files import TEXTS, read_arrays
from fcnjax.io.shrink import shrink, shrink_mask

EXAMPLES_FILE = "examples.npz"
MAX_COMPARED = 8  # images in the file
LONGEST_SIDE = 480  # pixels
MAX_BYTES = MAX_COMPARED * LONGEST_SIDE**2 * 12 + 2**20  # image, two int32 masks, and names
_KINDS = {"image": "u", "label": "iu", "prediction": "iu"}


class ComparedImage(NamedTuple):
    """A held-out image with the prediction of a run, at most `LONGEST_SIDE` pixels wide and high.

    Attributes:
        name: Its name in the dataset.
        score: Its score in 0..1, from `metrics.image_scores`; nan if undefined.
        image: Uint8 RGB `[H, W, 3]`.
        label: Class ids `[H, W]`.
        prediction: Class ids `[H, W]`.
    """

    name: str
    score: float
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


def select_compared(num_images: int, num_examples: int) -> list[int]:
    """Return the indices of the images to store, evenly spaced: at most `MAX_COMPARED`.

    Args:
        num_images: The number of evaluated images.
        num_examples: The largest number of images to store.
    """
    count = min(num_images, num_examples, MAX_COMPARED)
    return np.linspace(0, num_images - 1, count).astype(int).tolist()


def write_compared(folder: Path, examples: Sequence[Mapping[str, Any]]) -> None:
    """Write `examples.npz`.

    Args:
        folder: The folder.
        examples: `name`, `score`, `image [H, W, C]`, `label [H, W]` and `prediction [H, W]` of each
            image. They are stored with sides of at most `LONGEST_SIDE`.
    """
    arrays: dict[str, Any] = {
        "names": np.asarray([str(example["name"]) for example in examples], "U"),
        "scores": np.asarray([example["score"] for example in examples], np.float64),
    }
    for index, example in enumerate(examples):
        image = pictures.to_rgb(np.asarray(example["image"]))
        arrays[f"image_{index}"] = shrink(image, LONGEST_SIDE)
        for key in ("label", "prediction"):
            mask = np.asarray(example[key])
            if mask.max(initial=0) < 256:  # predictions are int32
                mask = mask.astype(np.uint8)
            arrays[f"{key}_{index}"] = shrink_mask(mask, LONGEST_SIDE)
    with atomic(folder / EXAMPLES_FILE) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_compared(workdir: str | Path) -> tuple[ComparedImage, ...]:
    """Read the images that `write_compared` stored in a workdir; () if there are none.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(workdir) / EXAMPLES_FILE
    if not path.is_file():
        return ()
    keys = {f"{key}_{i}": kinds for key, kinds in _KINDS.items() for i in range(MAX_COMPARED)}
    arrays = read_arrays(path, {"names": TEXTS, "scores": "f", **keys}, MAX_BYTES)
    names, scores = (arrays.get(key, np.zeros(0)) for key in ("names", "scores"))
    examples = []
    if names.ndim == 1 and names.shape == scores.shape and len(names) <= MAX_COMPARED:
        for index, (name, score) in enumerate(zip(names.tolist(), scores.tolist(), strict=True)):
            masks = [arrays.get(f"{key}_{index}") for key in _KINDS]
            examples.append(ComparedImage(name, score, *masks))
        if all(map(_is_valid, examples)):
            return tuple(examples)
    raise UserError(
        f"{path}: does not contain images with label and prediction; `fcnjax evaluate` writes them"
    )


def _is_valid(example: ComparedImage) -> bool:
    image, *masks = example[2:]
    if image is None or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        return False
    height, width = image.shape[:2]
    is_fitting = min(height, width) >= 1 and max(height, width) <= LONGEST_SIDE
    return is_fitting and all(m is not None and m.shape == (height, width) for m in masks)
