"""Images and masks in folders: paired by name, and divided into splits."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.file_names import same_name
from fcnjax.data.files.folder_files import files_below
from fcnjax.data.layout import PARTS
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.lists import hold_out, read_names, refuse_folds
from fcnjax.errors import UserError, choose

SPLIT_BY = ("auto", "list", "folder", "fraction")  # config.data.split.by
SHOWN = 3  # names listed in an error
IMAGE_ENDS = tuple(sorted(IMAGE_SUFFIXES))
MASK_ENDS = (*IMAGE_ENDS, ".npy")


def divide(
    data: ConfigDict,
    image_ends: Sequence[str] = IMAGE_ENDS,
    mask_ends: Sequence[str] = MASK_ENDS,
) -> dict[str, list[Pair]]:
    """The pairs of `train` and `eval`, by `config.data.split.by`.

    Args:
        data: `config.data`.
        image_ends: Endings of image files, small letters, longer ones first where one ends another.
        mask_ends: Those of masks.

    Raises:
        UserError: A folder is missing or empty, a partner is missing, or a list names a stranger.
    """
    root = Path(data.root)
    kind = kind_of(data)
    choose(dict.fromkeys(SPLIT_BY), kind, "config.data.split.by")
    if kind != "fraction":
        refuse_folds(data, f"by chance, and config.data.split.by is {kind}; give fraction")
    if kind == "folder":
        pairs = {}
        for part in PARTS:
            folders = _split_folders(data, data.split[part])
            pairs[part] = pair_folders(*folders, data.mask_suffix, image_ends, mask_ends)
    elif kind == "list":
        pairs = _by_list(data, image_ends, mask_ends)
    else:
        every = all_pairs(data, image_ends, mask_ends)
        folder = root / data.images
        names = [image.relative_to(folder).as_posix() for image, _ in every]
        pairs = hold_out(every, data, names)
    for part, found in pairs.items():
        if not found:
            raise UserError(f"{root}: the split {data.split[part]!r} has no image")
    return pairs


def kind_of(data: ConfigDict) -> str:
    """`config.data.split.by`; where that is `auto`, what is there: lists, folders, or neither.

    Raises:
        UserError: `config.data.root` is no folder.
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
    # One of two is a slip to be told of, not a reason to split at random.
    if any((root / f"{split}.txt").is_file() for split in splits):
        return "list"
    there = (_are_there(pair) for split in splits for pair in _candidates(data, split))
    return "folder" if any(there) else "fraction"


def _candidates(data: ConfigDict, split: str) -> tuple[tuple[Path, Path], ...]:
    root = Path(data.root)
    return (
        (root / data.images / split, root / data.masks / split),
        (root / split / data.images, root / split / data.masks),
    )


def _are_there(folders: Iterable[Path]) -> bool:
    return all(folder.is_dir() for folder in folders)


def _split_folders(data: ConfigDict, split: str) -> tuple[Path, Path]:
    for folders in _candidates(data, split):
        if _are_there(folders):
            return folders
    raise UserError(
        f"{data.root}: has neither {data.images}/{split} and {data.masks}/{split}, nor "
        f"{split}/{data.images} and {split}/{data.masks}"
    )


def _by_list(
    data: ConfigDict, image_ends: Sequence[str], mask_ends: Sequence[str]
) -> dict[str, list[Pair]]:
    """Find the pairs that the lists of both splits name; files that no list names are not used."""
    folders = Path(data.root) / data.images, Path(data.root) / data.masks
    images, masks = _index(*folders, data.mask_suffix, image_ends, mask_ends)
    found = {}
    for part in PARTS:
        file = Path(data.root) / f"{data.split[part]}.txt"
        if not file.is_file():
            raise UserError(f"{file}: no such list; config.data.split.{part} names it")
        found[part] = []
        for number, line in read_names(file):
            name = same_name(line)
            stem = name if name in images else stem_of(name, image_ends)
            for files, folder, what in ((images, folders[0], "image"), (masks, folders[1], "mask")):
                if stem not in files:
                    raise UserError(f"{file}, line {number}: no {what} {line!r} in {folder}")
            found[part].append((images[stem], masks[stem]))
    return found


def all_pairs(
    data: ConfigDict,
    image_ends: Sequence[str] = IMAGE_ENDS,
    mask_ends: Sequence[str] = MASK_ENDS,
) -> list[Pair]:
    """The pairs of `config.data.images` and `.masks`, undivided."""
    folders = (Path(data.root) / data.images, Path(data.root) / data.masks)
    return pair_folders(*folders, data.mask_suffix, image_ends, mask_ends)


def stem_of(name: str, ends: Sequence[str]) -> str | None:
    """A file's name without its ending; None where it has none of these."""
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
    """Pair the files of two folders, and of their subfolders, by path below them, sorted by it.

    Args:
        images: Folder of images.
        masks: Folder of masks; may be that of the images, where the masks have a suffix.
        mask_suffix: What a mask's name has after its image's, as `.ah` in `im1.ah.ppm`.
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
    """Find the image files and the mask files of two folders, by the name that pairs them."""
    of_images = _files(images, image_ends, masks)
    of_masks = _files(masks, mask_ends, images)
    if images.resolve() == masks.resolve():
        if not mask_suffix:
            raise UserError(
                f"{images}: is the folder of images and of masks; config.data.mask_suffix says "
                "what the names of masks end in, as _mask"
            )
        of_masks = [path for path in of_masks if _has_suffix(path, mask_suffix, mask_ends)]
        of_images = [path for path in of_images if path not in set(of_masks)]
    return (
        _by_name(images, of_images, "", image_ends),
        _by_name(masks, of_masks, mask_suffix, mask_ends),
    )


def _files(folder: Path, ends: Sequence[str], other: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; config.data.images and .masks name them")
    if not (files := files_below(folder, ends, excluded=[other])):
        raise UserError(f"{folder}: has no image; valid: {', '.join(ends)}")
    return files


def _has_suffix(path: Path, suffix: str, ends: Sequence[str]) -> bool:
    return same_name(stem_of(path.name, ends)).endswith(same_name(suffix))


def _by_name(
    folder: Path, files: Sequence[Path], suffix: str, ends: Sequence[str]
) -> dict[str, Path]:
    """Key files by their path below the folder, without ending and suffix."""
    found: dict[str, Path] = {}
    for path in files:
        name = same_name(path.relative_to(folder).as_posix())
        name = stem_of(name, ends).removesuffix(same_name(suffix))
        if not name.rpartition("/")[2]:
            continue
        if name in found:
            raise UserError(f"{path}: has the same name as {found[name].name}")
        found[name] = path
    if not found:
        raise UserError(f"{folder}: has no image; valid: {', '.join(ends)}")
    return found


def _refuse_lone(folder: Path, stems: Iterable[str], what: str) -> None:
    stems = sorted(stems)
    if stems:
        more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
        raise UserError(f"{folder}: {', '.join(stems[:SHOWN])}{more}: {what}")
