"""Sets whose files hold many examples each: how files are paired and divided, and classes found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ml_collections import ConfigDict

from fcnjax.data.labels.classes import find_classes, infer_class_values, join_values
from fcnjax.data.labels.mask_set import describe_values
from fcnjax.data.labels.masks import stored_values
from fcnjax.data.layout import PARTS, require_root
from fcnjax.data.pairs import Pair
from fcnjax.data.splits import folders
from fcnjax.data.splits.folders import SPLIT_BY, all_pairs, split_method
from fcnjax.data.splits.lists import refuse_folds
from fcnjax.errors import UserError, choose
from fcnjax.io.pictures import default_palette

ENCODINGS = ("ids", "instances")  # that these sources read


def divide(
    data: ConfigDict, ends: Sequence[str], within: Sequence[str] = ("blocks",)
) -> tuple[dict[str, list[Pair]], str]:
    """Pairs the files of `config.data.images` and `.masks`, and divides them into splits.

    As the folder source does; but some values of `config.data.split_by` divide each file: both
    splits have all files, and the caller takes a part of each. `blocks` is one of them, and is what
    is done where `auto` or `fraction` finds one file alone.

    Args:
        data: `config.data`.
        ends: Endings of the files, small letters, longer ones first where one ends another.
        within: The values of `split_by` that divide each file.

    Returns:
        Image and mask files of `train` and `eval`, and which of `within` each file is to be divided
        by; "" where it is not.

    Raises:
        UserError: A folder, a partner or a listed file is missing, or a split is empty.
    """
    kind = split_method(data)
    choose(dict.fromkeys((*SPLIT_BY, *within)), kind, "config.data.split_by")
    require_root(data)
    if kind in (*within, "fraction"):
        pairs = all_pairs(data, ends, ends)
        if kind == "fraction" and len(pairs) == 1:
            kind = "blocks"
        if kind in within:
            if kind == "blocks":
                refuse_folds(data, "by chance, and here each file is divided by blocks")
            if not 0 < data.eval_fraction < 1:
                raise UserError(
                    f"config.data.eval_fraction: {data.eval_fraction} is not between 0 and 1"
                )
            return dict.fromkeys(PARTS, pairs), kind
    return folders.divide(data, ends, ends), ""


def cut(length: int, fraction: float, part: str) -> tuple[int, int]:
    """Start and end of a split's block of `length` columns: the last are held out."""
    held_out = min(max(round(length * fraction), 1), max(length - 1, 1))
    return (0, length - held_out) if part == "train" else (length - held_out, length)


def find_values(
    data: ConfigDict,
    look: Callable[[], Mapping[int, Path]],
    void: Iterable[int] = (),
    table: Mapping[int, tuple[int, int, int]] = MappingProxyType({}),
) -> str:
    """Fills in the classes of `config.data`.

    Args:
        data: `config.data`; what it says already stands.
        look: Looks at masks for the values they store, each with a file that has it.
        void: Values that mean no data, which are ignored unless they are declared classes.
        table: Colours by stored value, as a mask may carry.

    Returns:
        What was found, as the end of a line; "" where nothing had to be looked for.

    Raises:
        UserError: An encoding that these sources lack, or values that are no classes.
    """
    data.encoding = data.encoding or "ids"
    choose(dict.fromkeys(ENCODINGS), data.encoding, "config.data.encoding")
    note = ""
    if data.encoding == "ids" and not data.mask_values:
        ignored = {*data.ignore_values, *void}
        found = look()
        data.mask_values = _classes(found, ignored, data)
        rest = sorted(ignored - {*data.mask_values, *data.ignore_values})
        data.ignore_values = (*data.ignore_values, *rest)
        note = f"; masks hold {join_values(sorted(found))}: {len(data.mask_values)} classes"
        note += describe_values(data.class_names, data.mask_values)
    first = [stored_values(entry)[0] for entry in data.mask_values]
    if first and not data.palette:
        known = all(value in table for value in first)
        data.palette = tuple(table[v] for v in first) if known else default_palette(len(first))
    return note + find_classes(data, ())


def _classes(found: Mapping[int, Path], ignored: set[int], data: ConfigDict) -> tuple[int, ...]:
    """The values of the classes: as many as the config names, if it does."""
    found = {value: path for value, path in found.items() if value not in ignored}
    if not found:
        raise UserError(f"{data.root}: the masks hold no pixel with a class")
    names = len(data.class_names)
    if names == len(set(found) - {data.ignore_label}):
        return tuple(sorted(set(found) - {data.ignore_label}))
    if names and len(found) != names:
        return tuple(range(names))
    return tuple(v for v in infer_class_values(found, data.ignore_label) if v not in ignored)
