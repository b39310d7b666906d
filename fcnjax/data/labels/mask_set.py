"""The mask files of a dataset, and samples of them to detect its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from fcnjax.data.labels.mask_files import is_array
from fcnjax.data.readers.decode import image_size
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.stored_pixels import Size

SAMPLE_SIZE = 200  # masks that are read to detect the classes
MAX_MASK_VALUES = 64  # distinct values of a mask; an image with more is not taken for one
T = TypeVar("T")


def evenly(items: Sequence[T], count: int = SAMPLE_SIZE) -> list[T]:
    """Return at most `count` of the items, evenly spaced, with the first and the last."""
    indices = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[i] for i in np.unique(indices.astype(int))]


def join_values(values: Sequence[int]) -> str:
    """Join values in a line; only the first dozen of many."""
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")


@dataclass(frozen=True)
class MaskSet:
    """Mask files, and the images whose sizes tell the channels of arrays.

    Attributes:
        files: The masks.
        images: The image of each mask that is an array.
    """

    files: Sequence[File]
    images: Mapping[File, File] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def size(self, file: File) -> Size | None:
        """Return the size of the image of a mask that is an array; None for other masks."""
        image = self.images.get(file) if is_array(file) else None
        return None if image is None else image_size(image)

    def sample(self, count: int = SAMPLE_SIZE) -> "MaskSet":
        """Return at most `count` of the masks, evenly spaced."""
        return MaskSet(evenly(self.files, count), self.images)

    def folders(self) -> list[Path]:
        """Return the parents and grandparents of the first and the last mask."""
        ends = [self.files[0], self.files[-1]] if len(self.files) else []
        paths = [Path(file) for file in ends if isinstance(file, str | Path)]
        return [folder for path in paths for folder in (path.parent, path.parent.parent)]


def mask_set(pairs: Sequence[tuple[File, File]]) -> MaskSet:
    """Return the masks of pairs of an image and a mask file."""
    arrays = {mask: image for image, mask in pairs if is_array(mask)}
    return MaskSet([mask for _, mask in pairs], arrays)


def describe_values(names: Sequence[str], values: Sequence[int]) -> str:
    """Describe which name is assumed for each stored value; "" if nothing is assumed.

    Args:
        names: The classes that the config names, or ().
        values: The stored values found for them, in class order.
    """
    if not names or len(names) != len(values) or tuple(values) == tuple(range(len(names))):
        return ""
    pairs = ", ".join(f"{value} is {name}" for name, value in zip(names, values, strict=True))
    return f" ({pairs}, in the order of the names; config.data.labels.mask_values gives another)"
