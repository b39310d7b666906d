"""Images and masks in two folders, paired by file name without suffix."""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.classes import find_classes
from fcnjax.data.decode import IMAGE_SUFFIXES
from fcnjax.data.layout import Layout, require_root
from fcnjax.data.lists import hold_out, read_names
from fcnjax.data.pairs import Pair, PairSource, check_sizes
from fcnjax.data.skipping import skips
from fcnjax.errors import UserError, choose

SHOWN = 3  # names listed in an error
MASK_SUFFIXES = IMAGE_SUFFIXES | {".npy"}


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
        found[part] = []
        for number, stem in read_names(file):
            if stem not in by_stem and Path(stem).suffix.lower() in IMAGE_SUFFIXES:
                stem = Path(stem).stem
            if stem not in by_stem:
                raise UserError(f"{file}, line {number}: no image {stem!r} in {root / data.images}")
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
        found[part] = pair_folders(*folders, data.mask_suffix)
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
    return hold_out(_all_pairs(data), data)


SPLITS = {"list": _by_list, "folder": _by_folder, "fraction": _by_fraction}


def _all_pairs(data: ConfigDict) -> list[Pair]:
    root = Path(data.root)
    return pair_folders(root / data.images, root / data.masks, data.mask_suffix)


def pair_folders(images: Path, masks: Path, mask_suffix: str = "") -> list[Pair]:
    """Pairs the files of two folders by name, sorted by it.

    Args:
        images: Folder of images.
        masks: Folder of masks.
        mask_suffix: What a mask's name has after its image's, as `.ah` in `im1.ah.ppm`.

    Raises:
        UserError: A folder is missing or empty, or a file has no partner or a namesake.
    """
    by_image = _by_stem(images, "", IMAGE_SUFFIXES)
    by_mask = _by_stem(masks, mask_suffix, MASK_SUFFIXES)
    _refuse_lone(images, by_image.keys() - by_mask.keys(), f"no mask in {masks}")
    _refuse_lone(masks, by_mask.keys() - by_image.keys(), f"no image in {images}")
    return [(by_image[stem], by_mask[stem]) for stem in sorted(by_image)]


def _by_stem(folder: Path, suffix: str, valid: frozenset[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; config.data.images and .masks name them")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in valid:
            continue
        stem = path.stem.removesuffix(suffix)
        if stem in found:
            raise UserError(f"{path}: has the same name as {found[stem].name}")
        found[stem] = path
    if not found:
        raise UserError(f"{folder}: has no image; valid: {', '.join(sorted(valid))}")
    return found


def _refuse_lone(folder: Path, stems: Iterable[str], what: str) -> None:
    stems = sorted(stems)
    if stems:
        more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
        raise UserError(f"{folder}: {', '.join(stems[:SHOWN])}{more}: {what}")


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    pairs = find_pairs(data)
    require_root(data)
    everything = [pair for part in pairs.values() for pair in part]
    if everything[0][1].suffix != ".npy" and not skips(data):  # else it is left to reading
        check_sizes(everything)
    note = f"{data.root}: {len(pairs['train'])} images to train on, {len(pairs['eval'])} held out"
    notes = [note + find_classes(data, [mask for _, mask in everything])]
    both = len(set(pairs["train"]) & set(pairs["eval"]))
    if both:
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    return notes


LAYOUT = Layout(
    "two folders, config.data.images and .masks, files paired by name",
    _resolve,
    lambda config, part: PairSource(find_pairs(config.data)[part], config.data),
)
