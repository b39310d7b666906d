"""Sets of one pixel type: the type is found by looking, and every image is converted to it."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import evenly
from fcnjax.data.pixel_type import PIXEL_TYPES, Conversion
from fcnjax.data.source import Source, StoredSource
from fcnjax.data.splits.example import Example
from fcnjax.errors import UserError

LOOKED_AT = 8  # images that are read to find the type of a set


class ConvertedSource:
    """A source whose images are of one pixel type.

    Args:
        source: The examples.
        pixel_type: As in `as_pixel_type`.
        root: Where they are, for errors.
    """

    def __init__(self, source: StoredSource, pixel_type: str, root: str):
        self.class_names = source.class_names
        self._source = source
        self._root = root
        self._convert = Conversion(pixel_type, "config.data.pixel_type is")

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example."""
        return self._source.size(index)

    def stamps(self) -> list[tuple]:
        """Of the files."""
        return self._source.stamps()

    def examples(self) -> list[Example]:
        """The identity of each example."""
        return self._source.examples()

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        name = f"{self._root}: {example['name']}"
        return {**example, "image": self._convert(np.asarray(example["image"]), name)}


def convert_source(source: StoredSource, data: ConfigDict) -> StoredSource:
    """The source with its images in `config.data.pixel_type`.

    Args:
        source: The examples as they are stored.
        data: `config.data`, resolved; of a workdir of before the key, images stay as they are.
    """
    if data.pixel_type is None:
        return source
    return ConvertedSource(source, data.pixel_type, data.root)


def find_pixel_type(source: Source) -> str | None:
    """The pixel type of a set: that of some of its images, the first and the last among them.

    Args:
        source: The examples as they are stored.

    Returns:
        The type; None where no image that was looked at can be read.

    Raises:
        UserError: They are of several types; names an example of each.
    """
    found: dict[str, str] = {}
    for row in evenly(range(len(source)), LOOKED_AT):
        try:
            example = source[row]
        except UserError:
            continue  # reading it tells
        found.setdefault(str(example["image"].dtype), str(example["name"]))
    if len(found) > 1:
        words = ", ".join(f"{pixel_type} (as {name})" for pixel_type, name in found.items())
        raise UserError(
            f"config.data.pixel_type: the images have pixels of several types: {words}; store them "
            f"alike, or give one of {', '.join(PIXEL_TYPES)}, as which all are taken by value "
            "(`fcnjax data check` names the images)"
        )
    return next(iter(found), None)
