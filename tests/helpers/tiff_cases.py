"""What the tests of TIFF files share: a case, and the pixels that it holds."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

HEIGHT, WIDTH = 21, 38


class Case(NamedTuple):
    """A file to write and to read.

    Attributes:
        writer: The program.
        feature: The kind of file.
        channels: `config.data.channels`.
        write: Writes the file to a path; returns `[H, W, C]`, what is to be read, or the words of
            the refusal.
        tolerance: Greatest difference of pixels whose compression is lossy.
        pages: `config.data.pages`.
    """

    writer: str
    feature: str
    channels: str
    write: Callable[[Path], np.ndarray | str]
    tolerance: int = 0
    pages: str = ""

    def __str__(self) -> str:
        return f"{self.writer}, {self.feature}, {self.channels}"


def pixels(dtype: str, bands: int, seed: int = 0) -> np.ndarray:
    """`[H, W, bands]` over the whole range of whole numbers, or reals."""
    rng = np.random.default_rng(seed)
    shape = (HEIGHT, WIDTH, bands)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(np.float16).astype(dtype)
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**24)), min(info.max, 2**24)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def smooth(bands: int) -> np.ndarray:
    """`[H, W, bands]` uint8 of soft colours, which lossy codecs nearly keep."""
    small = np.random.default_rng(1).integers(90, 170, (2, 3, bands), np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT)).reshape(HEIGHT, WIDTH, bands)


def as_read(array: np.ndarray) -> np.ndarray:
    """The type in which stored values are read."""
    return array if array.dtype in (np.uint8, np.uint16) else array.astype(np.float32)


def repeated(grey: np.ndarray) -> np.ndarray:
    """A grey picture as RGB."""
    return np.repeat(as_read(grey), 3, -1)


def photometric(bands: int) -> dict:
    """Options of tifffile for so many bands; four are RGB and alpha, as GDAL marks them too."""
    if bands in (3, 4):
        extra = {"extrasamples": ["unassalpha"]} if bands == 4 else {}
        return {"photometric": "rgb", **extra}
    return {"photometric": "minisblack"}


def numbered(bands: int) -> str:
    """The channels that name all bands by number; L for one."""
    return ",".join(str(i + 1) for i in range(bands)) if bands > 1 else "L"
