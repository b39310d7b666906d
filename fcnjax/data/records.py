"""Examples that are records of another library's data set: an image file and a mask file each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import orient_label, resolve_mask_exif
from fcnjax.data.labels.mask_set import evenly
from fcnjax.data.labels.masks import LabelReader
from fcnjax.data.layout import PARTS, Layout
from fcnjax.data.pairs import refuse_sizes
from fcnjax.data.readers.decode import File, image_size, read_image
from fcnjax.data.readers.image_file import read_content
from fcnjax.data.source import Source
from fcnjax.data.splits.example import Example, content_digest
from fcnjax.errors import UserError, choose, printable, unknown
from fcnjax.io.atomic_files import stamps

# What sets call the mask of an image; the first that one has is taken.
MASK_NAMES = (
    "segmentation_mask",
    "segmentation_label",
    "annotation",
    "mask",
    "segmentation",
    "label",
)
IMAGE_NAMES = ("image", "pixel_values", "image_left", "img")
# What `default_config` says: folders, which no set has a column named for unless it says so.
DEFAULTS = {"images": "images", "masks": "masks"}


class Record(NamedTuple):
    """An example as it is stored.

    Attributes:
        image: The image file.
        mask: The mask file.
        name: The example's name.
    """

    image: File
    mask: File
    name: str


class Records(Protocol):
    """The records of a split, read one at a time by index. Picklable.

    Attributes:
        spans: Which they are: a file or split, the first of its records, and the one past the last.
        files: The files that hold them.
        span_files: Those of each of the spans.
    """

    spans: Sequence[tuple[str, int, int]]
    files: Sequence[Path]
    span_files: Sequence[Sequence[Path]]

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Record:
        """Reads a record.

        Raises:
            UserError: It cannot be read.
        """


class RecordSource:
    """Examples of records.

    Args:
        records: The records of a split.
        data: `config.data`, resolved.
    """

    def __init__(self, records: Records, data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._records = records
        self._channels = data.channels
        self._pages = data.pages
        self._read_label = LabelReader(data)
        self._mask_exif = data.mask_exif

    def __len__(self) -> int:
        return len(self._records)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, from the image's header."""
        return image_size(self._records[index].image)

    def stamps(self) -> list[tuple]:
        """Which records are read, and of which files."""
        return [*self._records.spans, *stamps(self._records.files)]

    def examples(self) -> list[Example]:
        """The identity of each record: its row of a file or split, and the files that hold it.

        Some rows have a digest of their contents, which tells whether rows are where they were.
        """
        found = []
        spans = zip(self._records.spans, self._records.span_files, strict=True)
        for (name, start, stop), files in spans:
            for row in range(start, stop):
                digest = self._digest(len(found)) if row < 16 or row % 256 == 0 else ""
                title, box = f"{Path(name).name}[{row}]", ((row, row + 1),)
                found.append(Example((title,), tuple(files), box, digest))
        return found

    def _digest(self, index: int) -> str:
        try:
            record = self._records[index]
            return content_digest([read_content(record.image), read_content(record.mask)])
        except UserError:
            return "unreadable"

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_file, mask, name = self._records[index]
        image = read_image(image_file, self._channels, self._pages)
        label: np.ndarray = self._read_label(mask, image.shape[:2])
        label = orient_label(label, image_file, mask, self._mask_exif)
        refuse_sizes(image_file, image.shape[:2], mask, label.shape)
        return {"image": image, "label": label, "name": printable(name)}


class _Masks(Sequence):
    """The masks of several splits, each read when it is asked for."""

    def __init__(self, parts: Sequence[Records]):
        self._places = [(records, index) for records in parts for index in range(len(records))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> File:
        records, place = self._places[index]
        return records[place].mask


def _some(parts: Sequence[Records]) -> list[tuple[File, File]]:
    """Image and mask of some records: a record has to be read as a whole."""
    places = [(records, index) for records in parts for index in range(len(records))]
    return [records[index][:2] for records, index in evenly(places)]


def record_layout(
    summary: str,
    open_parts: Callable[[ConfigDict], Mapping[str, Records]],
    known_classes: Callable[[ConfigDict], Mapping[str, Any]],
) -> Layout:
    """A layout of sets whose examples are records.

    Args:
        summary: As in `Layout`.
        open_parts: Opens `train` and `eval`; fills in of `config.data` which columns they are
            read from.
        known_classes: `class_names` and `mask_values` where the set says them, given what
            `open_parts` has filled in; else {}.
    """

    def resolve(config: ConfigDict) -> list[str]:
        data = config.data
        parts = open_parts(data)
        for part, records in parts.items():
            if not len(records):
                raise UserError(
                    f"config.data.{part}_split: {data[f'{part}_split']!r} has no example"
                )
        if data.encoding in (None, "ids"):
            for key, value in known_classes(data).items():
                data.encoding = "ids"
                data[key] = data[key] or value
        counts = [len(parts[part]) for part in PARTS]
        note = f"{data.name or data.root}: {counts[0]} images to train on, {counts[1]} held out"
        notes = [note + find_classes(data, _Masks(list(parts.values())))]
        notes += resolve_mask_exif(data, _some(list(parts.values())))
        if both := _shared(parts["train"].spans, parts["eval"].spans):
            notes.append(f"{data.name}: {both} images are in both splits: the score will flatter")
        return notes

    def open_part(config: ConfigDict, part: str) -> Source:
        return RecordSource(open_parts(config.data)[part], config.data)

    return Layout(summary, resolve, open_part)


def _shared(one: Sequence[tuple[str, int, int]], other: Sequence[tuple[str, int, int]]) -> int:
    """How many records lie in both."""
    return sum(
        max(0, min(stop, other_stop) - max(start, other_start))
        for file, start, stop in one
        for other_file, other_start, other_stop in other
        if file == other_file
    )


def choose_column(data: ConfigDict, key: str, valid: Sequence[str]) -> str:
    """Fills in `config.data.images` or `.masks`, and returns it.

    Args:
        data: `config.data`; as the key stands by default, the usual names are tried.
        key: `images` or `masks`.
        valid: The set's columns of image files.

    Raises:
        UserError: There is no such column, or none of a usual name; lists the valid ones.
    """
    if data[key] not in valid and data[key] == DEFAULTS[key]:
        usual = IMAGE_NAMES if key == "images" else MASK_NAMES
        found = [name for name in usual if name in valid]
        if not found:
            listed = ", ".join(sorted(valid)) or "none, it has no image files"
            raise UserError(
                f"config.data.{key}: which one is not known by its name; valid, as of "
                f"{data.name or data.root}: {listed}"
            )
        data[key] = found[0]
    if data[key] not in valid:
        raise unknown(f"config.data.{key}", data[key], valid)
    return data[key]


def check_split(data: ConfigDict, part: str, valid: Sequence[str]) -> str:
    """The split expression of `train` or `eval`, as `train`, `train[:80%]` or `train+test[5:]`.

    Raises:
        UserError: It names a split that there is not.
    """
    key = f"{part}_split"
    for term in data[key].split("+"):
        choose(dict.fromkeys(valid), term.partition("[")[0].strip(), f"config.data.{key}")
    return data[key]


def no_expression(data: ConfigDict, part: str) -> UserError:
    """The error for a split whose slice cannot be read."""
    return UserError(
        f"config.data.{part}_split: {data[f'{part}_split']!r} is no part of a split; valid: as "
        "train, train[:80%] or train[10:20]+test"
    )


def first_line(error: Exception) -> str:
    """What another library says went wrong, in a line."""
    return next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
