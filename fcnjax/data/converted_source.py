"""Conversion of the images of a dataset to one pixel type, which is detected or configured."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import evenly
from fcnjax.data.pixel_type import PIXEL_TYPES, Conversion
from fcnjax.data.source import Source, SourceWrapper, StoredSource
from fcnjax.data.splits.example import Example
from fcnjax.errors import UserError

SAMPLED = 8  # images that are read to detect the pixel type of a dataset


class ConvertedSource(SourceWrapper):
    """A source whose images have one pixel type.

    Args:
        source: The examples.
        pixel_type: As in `as_pixel_type`.
        root: The location of the dataset, for errors.
    """

    def __init__(self, source: StoredSource, pixel_type: str, root: str):
        super().__init__(source)
        self._root = root
        self._convert = Conversion(pixel_type, "config.data.pixel_type is")

    def stamps(self) -> list[tuple]:
        """Return the identity of the files."""
        return self._source.stamps()

    def examples(self) -> list[Example]:
        """Return the identity of each example."""
        return self._source.examples()

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        name = f"{self._root}: {example['name']}"
        return {**example, "image": self._convert(np.asarray(example["image"]), name)}


def convert_source(source: StoredSource, data: ConfigDict) -> StoredSource:
    """Return the source with its images converted to `config.data.pixel_type`.

    Args:
        source: The examples as they are stored.
        data: `config.data`, resolved. Images stay as they are in workdirs older than the key.
    """
    if data.pixel_type is None:
        return source
    return ConvertedSource(source, data.pixel_type, data.root)


def find_pixel_type(source: Source) -> str | None:
    """Detect the pixel type of a dataset from some of its images, the first and last among them.

    Args:
        source: The examples as they are stored.

    Returns:
        The type; None if none of these images can be read.

    Raises:
        UserError: The images have several types; names an example of each.
    """
    names: dict[str, str] = {}  # of an example of each type
    for row in evenly(range(len(source)), SAMPLED):
        try:
            example = source[row]
        except UserError:
            continue  # reported when training reads the example
        names.setdefault(str(example["image"].dtype), str(example["name"]))
    if len(names) > 1:
        types = ", ".join(f"{pixel_type} (as {name})" for pixel_type, name in names.items())
        raise UserError(
            f"config.data.pixel_type: the images have pixels of several types: {types}; store them "
            f"alike, or give one of {', '.join(PIXEL_TYPES)}, to which all are converted by value "
            "(`fcnjax data check` names the images)"
        )
    return next(iter(names), None)
