"""Sets whose files hold many examples each: how files are paired and divided, and classes found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ml_collections import ConfigDict

from fcnjax.data.classes import find_classes, listed, values_of_classes
from fcnjax.data.layout import PARTS, require_root
from fcnjax.data.lists import file_names, hold_out, read_names
from fcnjax.data.masks import values_of
from fcnjax.data.pairs import Pair
from fcnjax.errors import UserError, choose
from fcnjax.pictures import default_palette

SHOWN = 3  # names listed in an error
ENCODINGS = ("ids", "instances")  # that these sources read
# `config.data.split_by`; auto takes the first that is there.
SPLITS = ("auto", "list", "folder", "fraction", "blocks")


def divide(data: ConfigDict, suffixes: Sequence[str]) -> tuple[dict[str, list[Pair]], bool]:
    """Pairs the files of `config.data.images` and `.masks`, and divides them into splits.

    By `config.data.split_by`: `list` (files of names), `folder` (folders named as the splits) and
    `fraction` (of the files), as the folder source has them. `blocks` divides each file instead:
    both splits have all files, and the caller takes a part of each; so it is where `auto` or
    `fraction` finds one file alone.

    Args:
        data: `config.data`.
        suffixes: Endings of the files, small letters, longer ones first where one ends another.

    Returns:
        Image and mask files of `train` and `eval`, and whether each file is to be divided.

    Raises:
        UserError: A folder, a partner or a listed file is missing, or a split is empty.
    """
    require_root(data)
    root = Path(data.root)
    kind = choose({name: name for name in SPLITS}, data.split_by, "config.data.split_by")
    splits = {part: data[f"{part}_split"] for part in PARTS}
    if kind == "auto":
        kind = _found(data, root, splits.values())
    if kind == "folder":
        folders = {part: _split_folders(data, root, split) for part, split in splits.items()}
        return {part: pair_files(*folders[part], suffixes) for part in PARTS}, False
    pairs = pair_files(root / data.images, root / data.masks, suffixes)
    if kind == "list":
        return {
            part: _listed(root, split, pairs, suffixes) for part, split in splits.items()
        }, False
    if kind == "blocks" or len(pairs) == 1:
        if not 0 < data.eval_fraction < 1:
            raise UserError(
                f"config.data.eval_fraction: {data.eval_fraction} is not between 0 and 1"
            )
        return dict.fromkeys(PARTS, pairs), True
    return hold_out(pairs, data), False


def _found(data: ConfigDict, root: Path, splits: Iterable[str]) -> str:
    # One of two is a slip to be told of, not a reason to split at random.
    if any((root / f"{split}.txt").is_file() for split in splits):
        return "list"
    if any(_is_split(*pair) for split in splits for pair in _candidates(data, root, split)):
        return "folder"
    return "fraction"


def _candidates(data: ConfigDict, root: Path, split: str) -> tuple[tuple[Path, Path], ...]:
    return (
        (root / data.images / split, root / data.masks / split),
        (root / split / data.images, root / split / data.masks),
    )


def _is_split(images: Path, masks: Path) -> bool:
    return images.is_dir() and masks.is_dir()


def _split_folders(data: ConfigDict, root: Path, split: str) -> tuple[Path, Path]:
    for pair in _candidates(data, root, split):
        if _is_split(*pair):
            return pair
    raise UserError(
        f"{root}: has neither {data.images}/{split} and {data.masks}/{split}, nor "
        f"{split}/{data.images} and {split}/{data.masks}"
    )


def _listed(root: Path, split: str, pairs: Sequence[Pair], suffixes: Sequence[str]) -> list[Pair]:
    by_name = {stem(pair[0].name, suffixes): pair for pair in pairs}
    file, found = root / f"{split}.txt", []
    for number, line in read_names(file):
        name = line if line in by_name else stem(line, suffixes)
        if name not in by_name:
            raise UserError(f"{file}, line {number}: no image {line!r} in {pairs[0][0].parent}")
        found.append(by_name[name])
    return found


def stem(name: str, suffixes: Sequence[str]) -> str | None:
    """A file's name without its ending; None where it has none of these."""
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None


def pair_files(images: Path, masks: Path, suffixes: Sequence[str]) -> list[Pair]:
    """Pairs the files of two folders by name without ending, sorted by it.

    Raises:
        UserError: A folder is missing or empty, or a file has no partner or a namesake.
    """
    by_image, by_mask = (_by_stem(folder, suffixes) for folder in (images, masks))
    for folder, lone, what in (
        (images, by_image.keys() - by_mask.keys(), f"no mask in {masks}"),
        (masks, by_mask.keys() - by_image.keys(), f"no image in {images}"),
    ):
        if lone:
            more = f" and {len(lone) - SHOWN} more" if len(lone) > SHOWN else ""
            raise UserError(f"{folder}: {', '.join(sorted(lone)[:SHOWN])}{more}: {what}")
    return [(by_image[name], by_mask[name]) for name in sorted(by_image)]


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(file_names(folder)):
        name = stem(file, suffixes)
        if not name or file.startswith("."):
            continue
        if name in found:
            raise UserError(f"{folder / file}: has the same name as {found[name].name}")
        found[name] = folder / file
    if not found:
        raise UserError(f"{folder}: has no file to read; valid: {', '.join(suffixes)}")
    return found


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
        note = f"; masks hold {listed(sorted(found))}: {len(data.mask_values)} classes"
    first = [values_of(entry)[0] for entry in data.mask_values]
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
    return tuple(v for v in values_of_classes(found, data.ignore_label) if v not in ignored)
