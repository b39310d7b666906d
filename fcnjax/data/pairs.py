"""Examples that are an image file and a mask."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_exif import label_size, orient_label, read_orientation
from fcnjax.data.labels.mask_files import is_array
from fcnjax.data.labels.mask_set import evenly
from fcnjax.data.labels.masks import LabelReader
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.readers.exif import UPRIGHT
from fcnjax.data.readers.image_file import File
from fcnjax.data.source import Source
from fcnjax.data.splits.example import Example, example_of
from fcnjax.errors import UserError, printable
from fcnjax.io.atomic_files import stamps

Pair = tuple[Path, Path]


class PairSource:
    """Pairs of an image file and what its label is read from.

    Args:
        pairs: The image files, and for each a mask file, or whatever `read_label` takes.
        data: `config.data`, resolved.
        read_label: Reads class ids `[H, W]`, given that and the image's height and width; None: a
            mask file, as `config.data` says. Picklable.

    Attributes:
        pairs: Image and mask files; [] where labels are read from others.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Any]],
        data: ConfigDict,
        read_label: Callable[[Any, tuple[int, int]], np.ndarray] | None = None,
    ):
        self.class_names = tuple(data.class_names)
        self._pairs = list(pairs)
        self._root = Path(data.root)
        self.pairs = self._pairs if read_label is None else []
        self._channels = data.channels
        self._pages = data.pages
        self._read_label = read_label or LabelReader(data)
        self._mask_exif = None if read_label else data.mask_exif

    def __len__(self) -> int:
        return len(self._pairs)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, from the image's header."""
        return image_size(self._pairs[index][0])

    def stamps(self) -> list[tuple]:
        """Of the files."""
        return stamps(path for pair in self._pairs for path in pair if isinstance(path, Path))

    def examples(self) -> list[Example]:
        """The identity of each example: its image and, where the label is a file, its mask."""
        return [
            example_of(self._root, [path for path in pair if isinstance(path, Path)])
            for pair in self._pairs
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_path, mask = self._pairs[index]
        image = read_image(image_path, self._channels, self._pages)
        label = self._read_label(mask, image.shape[:2])
        if self._mask_exif:
            label = orient_label(label, image_path, mask, self._mask_exif)
        refuse_sizes(image_path, image.shape[:2], mask, label.shape)
        return {"image": image, "label": label, "name": printable(image_path.stem)}


class MismatchedSource:
    """A control experiment: each image with the mask of another, cut or padded to its size.

    A score that stays high with it does not come from the labels.
    """

    def __init__(self, source: Source, seed: int, ignore_label: int):
        self.class_names = source.class_names
        self._source = source
        self._ignore = ignore_label
        if len(source) < 2:
            raise UserError("config.data.shuffle_labels: needs two images or more to train on")
        order = np.random.default_rng(seed).permutation(len(source))
        # The next in a random circle: nobody gets their own.
        self._other = np.empty(len(source), int)
        self._other[order] = np.roll(order, 1)

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example."""
        return self._source.size(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        other = self._source[int(self._other[index])]["label"]
        label = np.full(example["label"].shape, self._ignore, example["label"].dtype)
        height, width = (min(a, b) for a, b in zip(label.shape, other.shape, strict=True))
        label[:height, :width] = other[:height, :width]
        return {**example, "label": label}


def check_sizes(pairs: Sequence[Pair], rule: str = "auto") -> None:
    """Compares the sizes of images and masks by their headers, of a part of many pairs.

    Arrays are left to their reader.

    Args:
        pairs: Image and mask files.
        rule: `config.data.mask_exif`.

    Raises:
        UserError: A mask has another size than its image; names both.
    """
    for image, mask in evenly(pairs):
        if not is_array(mask):
            refuse_sizes(image, image_size(image), mask, label_size(image, mask, rule))


def refuse_sizes(image: File, size: tuple[int, int], mask: Path, mask_size: tuple) -> None:
    """Raises UserError where a mask's height and width are not its image's."""
    if size != mask_size:
        of_image, of_mask = (f"{width}x{height}" for height, width in (size, mask_size))
        raise UserError(
            f"{mask}: is {of_mask} pixels, and its image {image} is {of_image}"
            + (_exif_of(image, mask) if size == mask_size[::-1] else "")
        )


def _exif_of(image: File, mask: Path) -> str:
    """The words on the EXIF orientations of an image and its mask; "" where both have none."""
    texts = []
    for what, file in (("image", image), ("mask", mask)):
        try:
            orientation = read_orientation(file)[1]
        except UserError:  # a mask may be no image
            continue
        if orientation != UPRIGHT:
            texts.append(f"; by its EXIF orientation, {orientation}, the {what} was turned")
    return "".join(texts)
