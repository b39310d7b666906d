"""Examples stored as an image file and a mask."""

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
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.stored_pixels import UPRIGHT
from fcnjax.data.source import Source, SourceWrapper
from fcnjax.data.splits.example import Example, example_of
from fcnjax.errors import UserError, printable
from fcnjax.io.atomic_files import stamps

Pair = tuple[Path, Path]


class PairSource:
    """Pairs of an image file and a mask.

    Args:
        pairs: Image files, each with its mask file, or with another argument for `read_label`.
        data: `config.data`, resolved.
        read_label: Reads class ids `[H, W]`, given the second item of a pair and the image's height
            and width. None reads a mask file as `config.data` describes it. Picklable.

    Attributes:
        pairs: Image and mask files; [] with a `read_label`.
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
        self._mask_exif = None if read_label else data.labels.mask_exif

    def __len__(self) -> int:
        return len(self._pairs)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an example, from the image's header."""
        return image_size(self._pairs[index][0])

    def stamps(self) -> list[tuple]:
        """Return the identity of the files."""
        return stamps(path for pair in self._pairs for path in pair if isinstance(path, Path))

    def examples(self) -> list[Example]:
        """Return the identity of each example: its image and, if the label is a file, its mask."""
        return [
            example_of(self._root, [path for path in pair if isinstance(path, Path)])
            for pair in self._pairs
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_file, mask, name = self._locate(index)
        image = read_image(image_file, self._channels, self._pages)
        label = self._read_label(mask, image.shape[:2])
        if self._mask_exif:
            label = orient_label(label, image_file, mask, self._mask_exif)
        check_same_size(image_file, image.shape[:2], mask, label.shape)
        return {"image": image, "label": label, "name": printable(name)}

    def _locate(self, index: int) -> tuple[File, Any, str]:
        """Return the image file of an example, its mask and its name."""
        image_path, mask = self._pairs[index]
        return image_path, mask, image_path.stem


class ShuffledLabelSource(SourceWrapper):
    """A control experiment: each image with the mask of another, cropped or padded to its size.

    A score that stays high with shuffled labels does not come from the labels.
    """

    def __init__(self, source: Source, seed: int, ignore_label: int):
        super().__init__(source)
        self._ignore_label = ignore_label
        if len(source) < 2:
            raise UserError(
                "config.data.sampling.shuffle_labels: needs two training images or more"
            )
        order = np.random.default_rng(seed).permutation(len(source))
        # The next one in a random cycle, so that no image keeps its own mask.
        self._partner = np.empty(len(source), int)
        self._partner[order] = np.roll(order, 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        other = self._source[int(self._partner[index])]["label"]
        label = np.full(example["label"].shape, self._ignore_label, example["label"].dtype)
        height, width = (min(a, b) for a, b in zip(label.shape, other.shape, strict=True))
        label[:height, :width] = other[:height, :width]
        return {**example, "label": label}


def check_pair_sizes(pairs: Sequence[Pair], rule: str = "auto") -> None:
    """Compare the sizes of images and masks by their headers; of many pairs, a sample.

    Masks stored as arrays are skipped; their reader checks them.

    Args:
        pairs: Image and mask files.
        rule: `config.data.labels.mask_exif`.

    Raises:
        UserError: The size of a mask differs from its image's; names both.
    """
    for image, mask in evenly(pairs):
        if not is_array(mask):
            check_same_size(image, image_size(image), mask, label_size(image, mask, rule))


def check_same_size(image: File, size: tuple[int, int], mask: Path, label_size: tuple) -> None:
    """Raise UserError if the height and width of a mask differ from its image's."""
    if size != label_size:
        image_text, mask_text = (f"{width}x{height}" for height, width in (size, label_size))
        raise UserError(
            f"{mask}: is {mask_text} pixels, and its image {image} is {image_text}"
            + (_exif_hint(image, mask) if size == label_size[::-1] else "")
        )


def _exif_hint(image: File, mask: Path) -> str:
    """Describe the EXIF orientations of an image and its mask; "" if they have none."""
    texts = []
    for kind, file in (("image", image), ("mask", mask)):
        try:
            orientation = read_orientation(file)[1]
        except UserError:  # the mask may not be an image file
            continue
        if orientation != UPRIGHT:
            texts.append(f"; the {kind} was rotated by its EXIF orientation, {orientation}")
    return "".join(texts)
