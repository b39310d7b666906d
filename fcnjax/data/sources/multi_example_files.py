"""Datasets whose files hold many examples each, as rasters and volumes do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import find_classes, infer_class_values, join_values
from fcnjax.data.labels.mask_set import describe_values
from fcnjax.data.labels.masks import ClassTable, stored_values, to_foreground
from fcnjax.data.layout import PARTS, require_root
from fcnjax.data.pairs import Pair
from fcnjax.data.splits import folders
from fcnjax.data.splits.folders import SPLIT_BY, all_pairs, split_method
from fcnjax.data.splits.lists import refuse_folds
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import stamps
from fcnjax.io.pictures import default_palette

ENCODINGS = ("ids", "instances")  # that these sources read


class MaskedFile(Protocol):
    """An image file with many examples, and its mask."""

    image: Path
    mask: Path


F = TypeVar("F", bound=MaskedFile)


class MultiExampleSource:
    """Base class of sources whose files hold many examples each.

    Args:
        files: The image files and their masks.
        counts: Number of examples in each file.
        data: `config.data`, resolved.
    """

    def __init__(self, files: Sequence[F], counts: Sequence[int], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._files = list(files)
        self._ends = np.cumsum(counts)
        self._root = Path(data.root)
        self._has_instances = data.labels.encoding == "instances"
        self._ignore_values = tuple(data.labels.ignore_values)
        self._classes = ClassTable(data)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _locate(self, index: int) -> tuple[F, int]:
        """Return the file of an example and its number in the file."""
        # Python's iteration over a source ends with an IndexError.
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._files[number], index - (int(self._ends[number - 1]) if number else 0)

    def _stamps(self) -> list[tuple]:
        return stamps(path for file in self._files for path in (file.image, file.mask))

    def _class_ids(self, stored: np.ndarray, mask: Path) -> np.ndarray:
        if self._has_instances:
            stored = to_foreground(stored, self._ignore_values, mask)
        return self._classes(stored, mask)


def split_files(
    data: ConfigDict, ends: Sequence[str], within: Sequence[str] = ("blocks",)
) -> tuple[dict[str, list[Pair]], str]:
    """Pair the files of `config.data.images` and `.masks`, and divide them into splits.

    This works as in the folder source, except that some values of `config.data.split.by` divide
    each file: both splits then have all files, and the caller takes a part of each. `blocks` is one
    of them, and is used if `auto` or `fraction` finds a single file.

    Args:
        data: `config.data`.
        ends: Lower-case endings of the files, longer ones before their own endings.
        within: The values of `split.by` that divide each file.

    Returns:
        Image and mask files of `train` and `eval`, and the value of `within` that divides each
        file; "" if files are not divided.

    Raises:
        UserError: A folder, a partner or a join_values file is missing, or a split is empty.
    """
    kind = split_method(data)
    choose(dict.fromkeys((*SPLIT_BY, *within)), kind, "config.data.split.by")
    require_root(data)
    if kind in (*within, "fraction"):
        pairs = all_pairs(data, (ends, ends))
        if kind == "fraction" and len(pairs) == 1:
            kind = "blocks"
        if kind in within:
            if kind == "blocks":
                refuse_folds(data, "by chance, and here each file is divided by blocks")
            if not 0 < data.split.eval_fraction < 1:
                raise UserError(
                    f"config.data.split.eval_fraction: {data.split.eval_fraction} is not between 0 "
                    "and 1"
                )
            return dict.fromkeys(PARTS, pairs), kind
    return folders.divide(data, (ends, ends)), ""


def split_columns(length: int, fraction: float, part: str) -> tuple[int, int]:
    """Return the start and end of a split's columns; the last ones are held out."""
    held_out = min(max(round(length * fraction), 1), max(length - 1, 1))
    return (0, length - held_out) if part == "train" else (length - held_out, length)


def find_mask_values(
    data: ConfigDict,
    read_values: Callable[[], Mapping[int, Path]],
    nodata: Iterable[int] = (),
    palette: Mapping[int, tuple[int, int, int]] = MappingProxyType({}),
) -> str:
    """Fill in the classes of `config.data`.

    Args:
        data: `config.data`. Keys that are set take precedence.
        read_values: Returns the values stored in the masks, each with a file that has it.
        nodata: Values that mean no data. They are ignored unless they are declared classes.
        palette: Colours by stored value, as a mask may contain.

    Returns:
        The end of a line on what was found; "" if all was set.

    Raises:
        UserError: The encoding is not supported, or the values cannot be classes.
    """
    data.labels.encoding = data.labels.encoding or "ids"
    choose(dict.fromkeys(ENCODINGS), data.labels.encoding, "config.data.labels.encoding")
    note = ""
    if data.labels.encoding == "ids" and not data.labels.mask_values:
        ignored = {*data.labels.ignore_values, *nodata}
        values = read_values()
        data.labels.mask_values = _class_values(values, ignored, data)
        rest = sorted(ignored - {*data.labels.mask_values, *data.labels.ignore_values})
        data.labels.ignore_values = (*data.labels.ignore_values, *rest)
        note = f"; masks hold {join_values(sorted(values))}: {len(data.labels.mask_values)} classes"
        note += describe_values(data.class_names, data.labels.mask_values)
    first = [stored_values(entry)[0] for entry in data.labels.mask_values]
    if first and not data.palette:
        has_colours = all(value in palette for value in first)
        data.palette = (
            tuple(palette[value] for value in first) if has_colours else default_palette(len(first))
        )
    return note + find_classes(data, ())


def _class_values(
    stored: Mapping[int, Path], ignored: set[int], data: ConfigDict
) -> tuple[int, ...]:
    """Return the stored values of the classes; their number is that of `class_names`, if set."""
    stored = {value: path for value, path in stored.items() if value not in ignored}
    if not stored:
        raise UserError(f"{data.root}: the masks hold no pixel with a class")
    names = len(data.class_names)
    values = set(stored) - {data.ignore_label}
    if names == len(values):
        return tuple(sorted(values))
    if names and len(stored) != names:
        return tuple(range(names))
    return tuple(v for v in infer_class_values(stored, data.ignore_label) if v not in ignored)
