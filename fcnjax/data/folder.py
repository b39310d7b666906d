"""Images and masks in two folders, paired by file name without suffix."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.classes import evenly
from fcnjax.data.decode import IMAGE_SUFFIXES, image_size, read_image, read_mask
from fcnjax.errors import UserError, choose

Pair = tuple[Path, Path]
SHOWN = 3  # names listed in an error


class PairSource:
    """Pairs of an image and a mask file.

    Args:
        pairs: The files.
        data: `config.data`, resolved.
    """

    def __init__(self, pairs: Sequence[Pair], data: ConfigDict):
        self.class_names = tuple(data.class_names)
        self._pairs = list(pairs)
        self._channels = data.channels
        self._ignore = data.ignore_label
        self._values = tuple(data.mask_values)
        self._table = _value_table(self._values, self._ignore)

    def __len__(self) -> int:
        return len(self._pairs)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, from the image's header."""
        return image_size(self._pairs[index][0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_path, mask_path = self._pairs[index]
        image = read_image(image_path, self._channels)
        label = self._label(mask_path)
        _refuse_sizes(image_path, image.shape[:2], mask_path, label.shape)
        return {"image": image, "label": label, "name": image_path.stem}

    def _label(self, path: Path) -> np.ndarray:
        stored = read_mask(path)
        low, high = int(stored.min()), int(stored.max())
        label = self._table[np.clip(stored, 0, len(self._table) - 1)]
        if low < 0 or high >= len(self._table) or (label < 0).any():
            wrong = sorted(set(np.unique(stored).tolist()) - {*self._values, self._ignore})
            valid = ", ".join(map(str, self._values))
            if self._ignore not in self._values:
                valid += f", and {self._ignore} for what is ignored"
            raise UserError(
                f"{path}: has the value {wrong[0]}, which is no class; valid, by "
                f"config.data.mask_values: {valid}"
            )
        return label.astype(np.uint8 if len(self._values) <= 255 else np.int32)


class MismatchedSource:
    """A control experiment: each image with the mask of another, cut or padded to its size.

    A score that stays high with it does not come from the labels.
    """

    def __init__(self, source: PairSource, seed: int, ignore_label: int):
        self.class_names = source.class_names
        self._source = source
        self._ignore = ignore_label
        if len(source) < 2:
            raise UserError("config.data.shuffle_labels: needs two images or more to train on")
        order = np.random.default_rng(seed).permutation(len(source))
        # The next in a random circle: nobody gets their own.
        self._other = np.empty(len(source), int)
        self._other[order] = np.roll(order, 1)

    def __len__(self) -> int:
        return len(self._source)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example."""
        return self._source.size(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        other = self._source[int(self._other[index])]["label"]
        label = np.full_like(example["label"], self._ignore)
        height, width = (min(a, b) for a, b in zip(label.shape, other.shape, strict=True))
        label[:height, :width] = other[:height, :width]
        return {**example, "label": label}


def _value_table(values: Sequence[int], ignore: int) -> np.ndarray:
    table = np.full(max([*values, ignore, 255]) + 1, -1, np.int32)
    table[ignore] = ignore
    # Last: the 255 of a 0/255 mask is a class even where 255 is what is ignored.
    table[list(values)] = np.arange(len(values))
    return table


def find_pairs(data: ConfigDict) -> dict[str, list[Pair]]:
    """The pairs of `train` and `eval`, by `config.data.split_by`.

    Raises:
        UserError: A folder is missing or empty, a partner is missing, or a list names a stranger.
    """
    root = Path(data.root)
    if not data.root or not root.is_dir():
        raise UserError(
            f"config.data.root: {data.root!r} is not a folder; give one that holds "
            f"{data.images!r} and {data.masks!r}"
        )
    if data.split_by == "auto":
        names = (data.train_split, data.eval_split)
        # One of two is a slip to be told of, not a reason to split at random.
        if any((root / f"{name}.txt").is_file() for name in names):
            kind = "list"
        elif any(_split_folders(data, name) for name in names):
            kind = "folder"
        else:
            kind = "fraction"
    else:
        kind = data.split_by
    pairs = choose(SPLITS, kind, "config.data.split_by")(data)
    for part, found in pairs.items():
        if not found:
            raise UserError(f"{root}: the split {data[f'{part}_split']!r} has no image")
    return pairs


def _by_list(data: ConfigDict) -> dict[str, list[Pair]]:
    root = Path(data.root)
    by_stem = {image.stem: (image, mask) for image, mask in _all_pairs(data)}
    found = {}
    for part in ("train", "eval"):
        file = root / f"{data[f'{part}_split']}.txt"
        if not file.is_file():
            raise UserError(f"{file}: no such list; config.data.{part}_split names it")
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: cannot be read as text: {error}") from error
        found[part] = []
        for number, line in enumerate(lines, start=1):
            stem = line.strip()
            if stem and stem not in by_stem and Path(stem).suffix.lower() in IMAGE_SUFFIXES:
                stem = Path(stem).stem
            if stem and stem not in by_stem:
                raise UserError(f"{file}, line {number}: no image {stem!r} in {root / data.images}")
            if stem:
                found[part].append(by_stem[stem])
    return found


def _by_folder(data: ConfigDict) -> dict[str, list[Pair]]:
    found = {}
    for part in ("train", "eval"):
        split = data[f"{part}_split"]
        folders = _split_folders(data, split)
        if folders is None:
            raise UserError(
                f"{data.root}: has neither {data.images}/{split} and {data.masks}/{split}, nor "
                f"{split}/{data.images} and {split}/{data.masks}"
            )
        found[part] = pair_folders(*folders)
    return found


def _split_folders(data: ConfigDict, split: str) -> tuple[Path, Path] | None:
    root = Path(data.root)
    for folders in (
        (root / data.images / split, root / data.masks / split),
        (root / split / data.images, root / split / data.masks),
    ):
        if all(folder.is_dir() for folder in folders):
            return folders
    return None


def _by_fraction(data: ConfigDict) -> dict[str, list[Pair]]:
    pairs = _all_pairs(data)
    if not 0 < data.eval_fraction < 1:
        raise UserError(f"config.data.eval_fraction: {data.eval_fraction} is not between 0 and 1")
    if len(pairs) < 2:
        raise UserError(f"{data.root}: {len(pairs)} image cannot be split; give two or more")
    order = np.random.default_rng(data.split_seed).permutation(len(pairs))
    held_out = set(order[: min(max(round(len(pairs) * data.eval_fraction), 1), len(pairs) - 1)])
    return {
        "train": [pair for i, pair in enumerate(pairs) if i not in held_out],
        "eval": [pair for i, pair in enumerate(pairs) if i in held_out],
    }


SPLITS = {"list": _by_list, "folder": _by_folder, "fraction": _by_fraction}


def _all_pairs(data: ConfigDict) -> list[Pair]:
    root = Path(data.root)
    return pair_folders(root / data.images, root / data.masks)


def pair_folders(images: Path, masks: Path, mask_suffix: str = "") -> list[Pair]:
    """Pairs the files of two folders by name, sorted by it.

    Args:
        images: Folder of images.
        masks: Folder of masks.
        mask_suffix: What a mask's name has after its image's, as `.ah` in `im1.ah.ppm`.

    Raises:
        UserError: A folder is missing or empty, or a file has no partner or a namesake.
    """
    by_image, by_mask = _by_stem(images, ""), _by_stem(masks, mask_suffix)
    _refuse_lone(images, by_image.keys() - by_mask.keys(), f"no mask in {masks}")
    _refuse_lone(masks, by_mask.keys() - by_image.keys(), f"no image in {images}")
    return [(by_image[stem], by_mask[stem]) for stem in sorted(by_image)]


def _by_stem(folder: Path, suffix: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; config.data.images and .masks name them")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        stem = path.stem.removesuffix(suffix)
        if stem in found:
            raise UserError(f"{path}: has the same name as {found[stem].name}")
        found[stem] = path
    if not found:
        raise UserError(f"{folder}: has no image; valid: {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def _refuse_lone(folder: Path, stems: Iterable[str], what: str) -> None:
    stems = sorted(stems)
    if stems:
        more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
        raise UserError(f"{folder}: {', '.join(stems[:SHOWN])}{more}: {what}")


def check_sizes(pairs: Sequence[Pair]) -> None:
    """Compares the sizes of images and masks by their headers, of a part of many pairs.

    Raises:
        UserError: A mask has another size than its image; names both.
    """
    for image, mask in evenly(pairs):
        _refuse_sizes(image, image_size(image), mask, image_size(mask))


def _refuse_sizes(image: Path, size: tuple[int, int], mask: Path, mask_size: tuple) -> None:
    if size != mask_size:
        of_image, of_mask = (f"{width}x{height}" for height, width in (size, mask_size))
        raise UserError(f"{mask}: is {of_mask} pixels, and its image {image} is {of_image}")
