"""Pascal VOC 2012 for segmentation: 20 object classes and the background.

`JPEGImages/NAME.jpg`, `SegmentationClass/NAME.png` (the palette index is the class, and 255 the
border of objects) and the splits `ImageSets/Segmentation/{train,val,trainval}.txt` (Everingham et
al., IJCV 2015). `config.data.masks="SegmentationClassAug"` selects the folder in which the
annotations of Hariharan et al. (ICCV 2011) are usually shared, with a list of their own.

Exports of other tools in this layout (CVAT, Datumaro, LabelMe) have their own classes and colours
in a file `labelmap.txt` or `class_names.txt` beside these folders. Often `default` is their only
list.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folders import find_by_stem
from fcnjax.data.layout import (
    PARTS,
    Layout,
    choose_split,
    fixed_layout,
    require_root,
    resolve_pairs,
)
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.folders import IMAGE_ENDS, stem_of
from fcnjax.data.splits.lists import file_names, read_names
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import inside

NAME_FILES = ("labelmap.txt", "class_names.txt")  # with the classes of an export
# In the order of the development kit.
_CLASS_NAMES = """
    background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse
    motorbike person pottedplant sheep sofa train tvmonitor
"""
CLASS_NAMES = tuple(_CLASS_NAMES.split())
# Folders by config.data.masks; "masks" is the config's default.
MASKS = {name: name for name in ("SegmentationClass", "SegmentationClassAug")} | {
    "masks": "SegmentationClass"
}


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return the development kit's RGB colours of the first `count` indices, at most 256.

    The bits of an index go to red, green and blue in turn, from the highest bit of each downwards.
    """
    return tuple(
        tuple(
            sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
            for channel in range(3)
        )
        for index in range(count)
    )


def find_pairs(data: ConfigDict, split: str) -> list[Pair]:
    """Return the images and masks of a split, in the order of its list.

    Raises:
        UserError: The split is unknown, or a folder, an image or a mask is missing.
    """
    folder = _folder(Path(data.root))
    masks = folder / choose(MASKS, data.masks, "config.data.masks")
    lists = folder / "ImageSets" / "Segmentation"
    valid = sorted(path.stem for path in lists.glob("*.txt"))
    if not valid:
        raise UserError(f"{lists}: has no list of a split, as train.txt")
    choose_split(data, split, valid)
    path, images = lists / f"{split}.txt", folder / "JPEGImages"
    file_names(masks)  # raises if the folder is missing
    pairs = []
    for number, line in read_names(path):
        where, name = f"{path}, line {number}", line.strip('"')  # CVAT quotes names with spaces
        name = stem_of(name, IMAGE_ENDS) or name
        pairs.append(
            (
                find_by_stem(inside(images, name, where), IMAGE_SUFFIXES, f"{where}: no image"),
                find_by_stem(inside(masks, name, where), IMAGE_SUFFIXES, f"{where}: no mask"),
            )
        )
    return pairs


def _folder(root: Path) -> Path:
    for folder in (root, root / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise UserError(
        f"{root}: has no JPEGImages; config.data.root is the folder VOC2012, or VOCdevkit above it"
    )


_SUMMARY = (
    "Pascal VOC 2012: JPEGImages, SegmentationClass, ImageSets/Segmentation; or VOCdevkit above"
)
_FIXED = fixed_layout(
    _SUMMARY,
    find_pairs,
    {
        "labels.encoding": "ids",
        "class_names": CLASS_NAMES,
        "palette": voc_palette(len(CLASS_NAMES)),
        "labels.mask_values": tuple(range(len(CLASS_NAMES))),
        "labels.ignore_values": (255,),
    },
    reference="Everingham et al., IJCV 2015",
)


def _resolve(config: ConfigDict) -> list[str]:
    """Take the classes of VOC or, in an export, those of its list of classes."""
    data = config.data
    folder = _folder(require_root(data))
    is_export = any((folder / name).is_file() for name in NAME_FILES)
    if not is_export or data.labels.mask_values:
        return _FIXED.resolve(config)
    parts = {part: find_pairs(data, data.split[part]) for part in PARTS}
    return resolve_pairs(data, parts, data.root, check_sizes=False)


LAYOUT = Layout(_SUMMARY, _resolve, _FIXED.open, reference=_FIXED.reference)
