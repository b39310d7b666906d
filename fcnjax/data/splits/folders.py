"""Pairing of images and masks in folders by name, and their division into splits."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folders import files_below, join_names, normalize_name
from fcnjax.data.layout import PARTS
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.lists import hold_out, read_names, refuse_folds
from fcnjax.errors import UserError, choose

SPLIT_BY = ("auto", "list", "folder", "fraction")  # config.data.split.by
IMAGE_ENDS = tuple(sorted(IMAGE_SUFFIXES))
MASK_ENDS = (*IMAGE_ENDS, ".npy")


def divide(
    data: ConfigDict,
    image_ends: Sequence[str] = IMAGE_ENDS,
    mask_ends: Sequence[str] = MASK_ENDS,
) -> dict[str, list[Pair]]:
    """Return the pairs of `train` and `eval`, by `config.data.split.by`.

    Args:
        data: `config.data`.
        image_ends: Endings of image files in lower case, a longer one before its own ending.
        mask_ends: Endings of masks.

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
            folders = _split_folders(data, data.split[part])
            pairs[part] = pair_folders(*folders, data.mask_suffix, image_ends, mask_ends)
    elif method == "list":
        pairs = _by_list(data, image_ends, mask_ends)
    else:
        undivided = all_pairs(data, image_ends, mask_ends)
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
    exist = (_are_folders(pair) for split in splits for pair in _candidates(data, split))
    return "folder" if any(exist) else "fraction"


def _candidates(data: ConfigDict, split: str) -> tuple[tuple[Path, Path], ...]:
    root = Path(data.root)
    return (
        (root / data.images / split, root / data.masks / split),
        (root / split / data.images, root / split / data.masks),
    )


def _are_folders(folders: Iterable[Path]) -> bool:
    return all(folder.is_dir() for folder in folders)


def _split_folders(data: ConfigDict, split: str) -> tuple[Path, Path]:
    for folders in _candidates(data, split):
        if _are_folders(folders):
            return folders
    raise UserError(
        f"{data.root}: has neither {data.images}/{split} and {data.masks}/{split}, nor "
        f"{split}/{data.images} and {split}/{data.masks}"
    )


def _by_list(
    data: ConfigDict, image_ends: Sequence[str], mask_ends: Sequence[str]
) -> dict[str, list[Pair]]:
    """Return the pairs in the lists of both splits; files that no list names are not used."""
    folders = Path(data.root) / data.images, Path(data.root) / data.masks
    images, masks = _index(*folders, data.mask_suffix, image_ends, mask_ends)
    pairs = {}
    for part in PARTS:
        file = Path(data.root) / f"{data.split[part]}.txt"
        if not file.is_file():
            raise UserError(f"{file}: no such list; config.data.split.{part} names it")
        pairs[part] = []
        for number, line in read_names(file):
            name = normalize_name(line)
            stem = name if name in images else stem_of(name, image_ends)
            for files, folder, what in ((images, folders[0], "image"), (masks, folders[1], "mask")):
                if stem not in files:
                    raise UserError(f"{file}, line {number}: no {what} {line!r} in {folder}")
            pairs[part].append((images[stem], masks[stem]))
    return pairs


def all_pairs(
    data: ConfigDict,
    image_ends: Sequence[str] = IMAGE_ENDS,
    mask_ends: Sequence[str] = MASK_ENDS,
) -> list[Pair]:
    """Return the pairs of `config.data.images` and `.masks`, undivided."""
    folders = (Path(data.root) / data.images, Path(data.root) / data.masks)
    return pair_folders(*folders, data.mask_suffix, image_ends, mask_ends)


def stem_of(name: str, ends: Sequence[str]) -> str | None:
    """Return a file's name without its ending; None if it has none of `ends`."""
    for end in ends:
        if name.lower().endswith(end):
            return name[: -len(end)]
    return None


def pair_folders(
    images: Path,
    masks: Path,
    mask_suffix: str = "",
    image_ends: Sequence[str] = IMAGE_ENDS,
    mask_ends: Sequence[str] = MASK_ENDS,
) -> list[Pair]:
    """Pair the files of two folders and their subfolders by relative path, sorted by it.

    Args:
        images: Folder of images.
        masks: Folder of masks; may be that of the images, if the masks have a suffix.
        mask_suffix: Appended to the image's name in a mask's name, such as `.ah` in `im1.ah.ppm`.
        image_ends: As in `divide`.
        mask_ends: As in `divide`.

    Raises:
        UserError: A folder is missing or empty, or a file has no partner or a namesake.
    """
    by_image, by_mask = _index(images, masks, mask_suffix, image_ends, mask_ends)
    _refuse_lone(images, by_image.keys() - by_mask.keys(), f"no mask in {masks}")
    _refuse_lone(masks, by_mask.keys() - by_image.keys(), f"no image in {images}")
    return [(by_image[stem], by_mask[stem]) for stem in sorted(by_image)]


def _index(
    images: Path,
    masks: Path,
    mask_suffix: str,
    image_ends: Sequence[str],
    mask_ends: Sequence[str],
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the image files and the mask files of two folders, by the name that pairs them."""
    image_files = _files(images, image_ends, masks)
    mask_files = _files(masks, mask_ends, images)
    if images.resolve() == masks.resolve():
        if not mask_suffix:
            raise UserError(
                f"{images}: is the folder of images and of masks; config.data.mask_suffix says "
                "what the names of masks end in, such as _mask"
            )
        mask_files = [path for path in mask_files if _has_suffix(path, mask_suffix, mask_ends)]
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


def _has_suffix(path: Path, suffix: str, ends: Sequence[str]) -> bool:
    return normalize_name(stem_of(path.name, ends)).endswith(normalize_name(suffix))


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


def _refuse_lone(folder: Path, stems: Iterable[str], reason: str) -> None:
    stems = sorted(stems)
    if stems:
        raise UserError(f"{folder}: {join_names(stems)}: {reason}")
