"""Pairing of images and masks in folders by name, and their division into splits."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folders import files_below, normalize_name
from fcnjax.data.layout import PARTS
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.lists import hold_out, read_names, refuse_folds
from fcnjax.errors import UserError, choose, join_names

SPLIT_BY = ("auto", "list", "folder", "fraction")  # config.data.split.by
IMAGE_ENDS = tuple(sorted(IMAGE_SUFFIXES))
MASK_ENDS = (*IMAGE_ENDS, ".npy")
# Endings of image files and of masks in lower case, a longer one before its own ending.
Ends = tuple[Sequence[str], Sequence[str]]
ENDS = (IMAGE_ENDS, MASK_ENDS)


def divide(data: ConfigDict, ends: Ends = ENDS) -> dict[str, list[Pair]]:
    """Return the pairs of `train` and `eval`, by `config.data.split.by`.

    Args:
        data: `config.data`.
        ends: Endings of the files.

    Raises:
        UserError: A folder is missing or empty, a partner is missing, or a list names an unknown
            file.
    """
    root = Path(data.root)
    method = split_method(data)
    choose(dict.fromkeys(SPLIT_BY), method, "config.data.split.by")
    if method != "fraction":
        refuse_folds(data, f"by chance, and config.data.split.by is {method}; give fraction")
    if method == "folder":
        pairs = {}
        for part in PARTS:
            split = data.split[part]
            if not (folders := _find_folders(data, split)):
                raise UserError(
                    f"{data.root}: has neither {data.images}/{split} and {data.masks}/{split}, nor "
                    f"{split}/{data.images} and {split}/{data.masks}"
                )
            pairs[part] = pair_folders(*folders, data.mask_suffix, ends)
    elif method == "list":
        pairs = _by_list(data, ends)
    else:
        undivided = all_pairs(data, ends)
        folder = root / data.images
        names = [image.relative_to(folder).as_posix() for image, _ in undivided]
        pairs = hold_out(undivided, data, names)
    for part, part_pairs in pairs.items():
        if not part_pairs:
            raise UserError(f"{root}: the split {data.split[part]!r} has no image")
    return pairs


def split_method(data: ConfigDict) -> str:
    """Return `config.data.split.by`; if it is `auto`, by whether there are lists or folders.

    Raises:
        UserError: `config.data.root` is not a folder.
    """
    root = Path(data.root)
    if not data.root or not root.is_dir():
        raise UserError(
            f"config.data.root: {data.root!r} is not a folder; give one that holds "
            f"{data.images!r} and {data.masks!r}"
        )
    if data.split.by != "auto":
        return data.split.by
    splits = [data.split[part] for part in PARTS]
    # If only one of the two exists, that is a mistake to report, not a reason to split by chance.
    if any((root / f"{split}.txt").is_file() for split in splits):
        return "list"
    return "folder" if any(_find_folders(data, split) for split in splits) else "fraction"


def _find_folders(data: ConfigDict, split: str) -> tuple[Path, Path] | None:
    """Return the existing folders of images and masks of a split, of the two usual places."""
    root = Path(data.root)
    candidates = (
        (root / data.images / split, root / data.masks / split),
        (root / split / data.images, root / split / data.masks),
    )
    return next((pair for pair in candidates if all(map(Path.is_dir, pair))), None)


def _by_list(data: ConfigDict, ends: Ends) -> dict[str, list[Pair]]:
    """Return the pairs in the lists of both splits; files that no list names are not used."""
    folders = Path(data.root) / data.images, Path(data.root) / data.masks
    images, masks = _index(*folders, data.mask_suffix, ends)
    pairs = {}
    for part in PARTS:
        file = Path(data.root) / f"{data.split[part]}.txt"
        if not file.is_file():
            raise UserError(f"{file}: no such list; config.data.split.{part} names it")
        pairs[part] = []
        for number, line in read_names(file):
            name = normalize_name(line)
            stem = name if name in images else stem_of(name, ends[0])
            for files, folder, what in ((images, folders[0], "image"), (masks, folders[1], "mask")):
                if stem not in files:
                    raise UserError(f"{file}, line {number}: no {what} {line!r} in {folder}")
            pairs[part].append((images[stem], masks[stem]))
    return pairs


def all_pairs(data: ConfigDict, ends: Ends = ENDS) -> list[Pair]:
    """Return the pairs of `config.data.images` and `.masks`, undivided."""
    folders = (Path(data.root) / data.images, Path(data.root) / data.masks)
    return pair_folders(*folders, data.mask_suffix, ends)


def stem_of(name: str, ends: Sequence[str]) -> str | None:
    """Return a file's name without its ending; None if it has none of `ends`."""
    return next((name[: -len(end)] for end in ends if name.lower().endswith(end)), None)


def pair_folders(images: Path, masks: Path, mask_suffix: str = "", ends: Ends = ENDS) -> list[Pair]:
    """Pair the files of two folders and their subfolders by relative path, sorted by it.

    Args:
        images: Folder of images.
        masks: Folder of masks; may be that of the images, if the masks have a suffix.
        mask_suffix: Appended to the image's name in a mask's name, such as `.ah` in `im1.ah.ppm`.
        ends: As in `divide`.

    Raises:
        UserError: A folder is missing or empty, or a file has no partner or a namesake.
    """
    by_image, by_mask = _index(images, masks, mask_suffix, ends)
    for folder, lone, reason in (
        (images, by_image.keys() - by_mask.keys(), f"no mask in {masks}"),
        (masks, by_mask.keys() - by_image.keys(), f"no image in {images}"),
    ):
        if lone:
            raise UserError(f"{folder}: {join_names(sorted(lone))}: {reason}")
    return [(by_image[stem], by_mask[stem]) for stem in sorted(by_image)]


def _index(
    images: Path, masks: Path, mask_suffix: str, ends: Ends
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the image files and the mask files of two folders, by the name that pairs them."""
    image_ends, mask_ends = ends
    image_files = _files(images, image_ends, masks)
    mask_files = _files(masks, mask_ends, images)
    if images.resolve() == masks.resolve():
        if not mask_suffix:
            raise UserError(
                f"{images}: is the folder of images and of masks; config.data.mask_suffix says "
                "what the names of masks end in, such as _mask"
            )
        suffix = normalize_name(mask_suffix)
        names = {path: normalize_name(stem_of(path.name, mask_ends)) for path in mask_files}
        mask_files = [path for path, name in names.items() if name.endswith(suffix)]
        image_files = [path for path in image_files if path not in set(mask_files)]
    return (
        _by_name(images, image_files, "", image_ends),
        _by_name(masks, mask_files, mask_suffix, mask_ends),
    )


def _files(folder: Path, ends: Sequence[str], other: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; config.data.images and .masks name them")
    if not (files := files_below(folder, ends, excluded=[other])):
        raise UserError(f"{folder}: has no image; valid: {', '.join(ends)}")
    return files


def _by_name(
    folder: Path, files: Sequence[Path], suffix: str, ends: Sequence[str]
) -> dict[str, Path]:
    """Return files by their path below the folder, without ending and suffix."""
    by_name: dict[str, Path] = {}
    for path in files:
        name = normalize_name(path.relative_to(folder).as_posix())
        name = stem_of(name, ends).removesuffix(normalize_name(suffix))
        if not name.rpartition("/")[2]:
            continue
        if name in by_name:
            raise UserError(f"{path}: has the same name as {by_name[name].name}")
        by_name[name] = path
    if not by_name:
        raise UserError(f"{folder}: has no image; valid: {', '.join(ends)}")
    return by_name
