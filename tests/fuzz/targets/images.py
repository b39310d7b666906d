"""Image files, as a folder's images and a request's."""

from pathlib import Path

import numpy as np
from PIL import Image

from fcnjax.data.readers.decode import read_image
from tests.fuzz.mutations import BYTES
from tests.fuzz.target import Target


def _make(folder: Path) -> list[Path]:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 31, 3), np.uint8)
    image = Image.fromarray(pixels)
    names = ("a.png", "a.jpg", "a.bmp", "a.ppm", "a.tif")
    for name in names:
        image.save(folder / name)
    return [folder / name for name in names]


def _read(path: Path) -> None:
    read_image(path, "RGB")


TARGETS = [Target("image", _make, _read, BYTES)]
