"""Examples stored as records of another library's dataset: an image file and a mask file each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ml_collections import ConfigDict

from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.labels.mask_set import evenly
from fcnjax.data.layout import Layout, count_note, overlap_notes
from fcnjax.data.pairs import PairSource
from fcnjax.data.readers.decode import File
from fcnjax.data.readers.image_file import read_content
from fcnjax.data.source import Source
from fcnjax.data.splits.example import Example, content_digest
from fcnjax.errors import UserError, choose, unknown
from fcnjax.io.atomic_files import stamps

# Usual names of columns, in order of preference, by the key of `config.data` that selects one.
_IMAGE_NAMES = ("image", "pixel_values", "image_left", "img")
_MASK_NAMES = "segmentation_mask segmentation_label annotation mask segmentation label"
USUAL_NAMES = {"images": _IMAGE_NAMES, "masks": tuple(_MASK_NAMES.split())}


class Record(NamedTuple):
    """An example as stored.

    Attributes:
        image: The image file.
        mask: The mask file.
        name: The name of the example.
    """

    image: File
    mask: File
    name: str


class Records(Protocol):
    """The records of a split, read one at a time by index. Picklable.

    Attributes:
        spans: Ranges of records: a file or split, its first record, and the one after the last.
        files: The files that hold the records.
        span_files: The files of each span.
    """

    spans: Sequence[tuple[str, int, int]]
    files: Sequence[Path]
    span_files: Sequence[Sequence[Path]]

    def __len__(self) -> int:
        """Return the number of records."""

    def __getitem__(self, index: int) -> Record:
        """Read a record.

        Raises:
            UserError: The record cannot be read.
        """


class RecordSource(PairSource):
    """A source that reads records, each only when it is needed.

    Args:
        records: The records of a split.
        data: `config.data`, resolved.
    """

    def __init__(self, records: Records, data: ConfigDict):
        super().__init__((), data)
        self._pairs = self._records = records

    def _locate(self, index: int) -> Record:
        return self._records[index]

    def stamps(self) -> list[tuple]:
        """Return the spans of records and the identity of their files."""
        return [*self._records.spans, *stamps(self._records.files)]

    def examples(self) -> list[Example]:
        """Return the identity of each record: its row of a file or split, and the files.

        Some rows have a digest of their contents, to detect rows that moved.
        """
        examples: list[Example] = []
        spans = zip(self._records.spans, self._records.span_files, strict=True)
        for (name, start, stop), files in spans:
            for row in range(start, stop):
                digest = self._digest(len(examples)) if row < 16 or row % 256 == 0 else ""
                title, box = f"{Path(name).name}[{row}]", ((row, row + 1),)
                examples.append(Example((title,), tuple(files), box, digest))
        return examples

    def _digest(self, index: int) -> str:
        try:
            record = self._records[index]
            return content_digest([read_content(record.image), read_content(record.mask)])
        except UserError:
            return "unreadable"


class _Masks(Sequence):
    """The masks of several splits, read on access."""

    def __init__(self, parts: Sequence[Records]):
        self.rows = [(records, row) for records in parts for row in range(len(records))]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> File:
        records, row = self.rows[index]
        return records[row].mask


def record_layout(
    summary: str,
    open_parts: Callable[[ConfigDict], Mapping[str, Records]],
    known_classes: Callable[[ConfigDict], Mapping[str, Any]],
) -> Layout:
    """Return the layout of datasets whose examples are records.

    Args:
        summary: As in `Layout`.
        open_parts: Opens `train` and `eval`, and fills in the columns in `config.data`.
        known_classes: Returns the `class_names` and `mask_values` that the dataset states, given
            `config.data` after `open_parts`.
    """

    def resolve(config: ConfigDict) -> list[str]:
        data = config.data
        parts = open_parts(data)
        for part, records in parts.items():
            if not len(records):
                raise UserError(f"config.data.split.{part}: {data.split[part]!r} has no example")
        if data.labels.encoding in (None, "ids"):
            for key, value in known_classes(data).items():
                data.labels.encoding = "ids"
                data.update_from_flattened_dict({key: data[key] or value})
        masks = _Masks(list(parts.values()))
        notes = [count_note(data.name or data.root, parts) + find_classes(data, masks)]
        # Only some records, since a record has to be read completely.
        sample = [records[row][:2] for records, row in evenly(masks.rows)]
        notes += resolve_mask_exif(data, sample)
        overlap = _count_overlap(parts["train"].spans, parts["eval"].spans)
        return [*notes, *overlap_notes(data.name, overlap)]

    def open_part(config: ConfigDict, part: str) -> Source:
        return RecordSource(open_parts(config.data)[part], config.data)

    return Layout(summary, resolve, open_part)


def _count_overlap(
    one: Sequence[tuple[str, int, int]], other: Sequence[tuple[str, int, int]]
) -> int:
    """Count the records that are in spans of both."""
    return sum(
        max(0, min(stop, other_stop) - max(start, other_start))
        for file, start, stop in one
        for other_file, other_start, other_stop in other
        if file == other_file
    )


def choose_column(data: ConfigDict, key: str, valid: Sequence[str]) -> str:
    """Return the column in `config.data.images` or `.masks`, which is filled in if not set.

    Args:
        data: `config.data`. If the key has its default, the usual names are tried.
        key: `images` or `masks`.
        valid: The columns of image files of the dataset.

    Raises:
        UserError: There is no such column, or none with a usual name; lists the valid ones.
    """
    # The default, `images` or `masks`, is the name of a folder.
    if data[key] not in valid and data[key] == key:
        candidates = [name for name in USUAL_NAMES[key] if name in valid]
        if not candidates:
            listed = ", ".join(sorted(valid)) or "none, it has no image files"
            raise UserError(
                f"config.data.{key}: no column has a usual name; valid for "
                f"{data.name or data.root}: {listed}"
            )
        data[key] = candidates[0]
    if data[key] not in valid:
        raise unknown(f"config.data.{key}", data[key], valid)
    return data[key]


def check_split(data: ConfigDict, part: str, valid: Sequence[str]) -> str:
    """Return the split expression of `train` or `eval`, as `train[:80%]` or `train+test[5:]`.

    Raises:
        UserError: It names an unknown split.
    """
    split = data.split[part]
    for term in split.split("+"):
        choose(dict.fromkeys(valid), term.partition("[")[0].strip(), f"config.data.split.{part}")
    return split


def split_error(data: ConfigDict, part: str) -> UserError:
    """Return the error for a split expression that cannot be parsed."""
    return UserError(
        f"config.data.split.{part}: {data.split[part]!r} is not a split expression; valid: as "
        "train, train[:80%] or train[10:20]+test"
    )


def first_line(error: Exception) -> str:
    """Return the first line of another library's error message."""
    return next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
