"""The mask files of a set, which are looked at to find its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from fcnjax.data.labels.mask_files import is_array
from fcnjax.data.labels.orientation import Size
from fcnjax.data.readers.decode import image_size
from fcnjax.data.readers.image_file import File

LOOKED_AT = 200  # files read to find the classes
MOST_IN_MASK = 64  # distinct values, above which a picture is not taken for a mask
T = TypeVar("T")


def evenly(items: Sequence[T], count: int = LOOKED_AT) -> list[T]:
    """At most `count` of the items, evenly spaced, the first and the last among them."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[i] for i in np.unique(chosen.astype(int))]


def listed(values: Sequence[int]) -> str:
    """The values in a line; the first dozen of many."""
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
        """Height and width of the image of a mask that is an array; None of other masks."""
        image = self.images.get(file) if is_array(file) else None
        return None if image is None else image_size(image)

    def looked_at(self, count: int = LOOKED_AT) -> "MaskSet":
        """At most `count` of the masks, evenly spaced."""
        return MaskSet(evenly(self.files, count), self.images)

    def folders(self) -> list[Path]:
        """The folders of the first and the last mask, and those above them."""
        ends = [self.files[0], self.files[-1]] if len(self.files) else []
        paths = [Path(file) for file in ends if isinstance(file, str | Path)]
        return [folder for path in paths for folder in (path.parent, path.parent.parent)]


def mask_set(pairs: Sequence[tuple[File, File]]) -> MaskSet:
    """The masks of pairs of an image and a mask file."""
    arrays = {mask: image for image, mask in pairs if is_array(mask)}
    return MaskSet([mask for _, mask in pairs], arrays)


def names_of_values(names: Sequence[str], values: Sequence[int]) -> str:
    """Say which name is taken for each stored value; "" where nothing is assumed.

    Args:
        names: The classes that the config names; () where it names none.
        values: The stored values that were found for them, in class order.
    """
    if not names or len(names) != len(values) or tuple(values) == tuple(range(len(names))):
        return ""
    pairs = ", ".join(f"{value} is {name}" for name, value in zip(names, values, strict=True))
    return f" ({pairs}, in the order of the names; config.data.labels.mask_values gives another)"
