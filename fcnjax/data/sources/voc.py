"""Pascal VOC 2012 for segmentation: 20 kinds of object and the background.

`JPEGImages/NAME.jpg`, `SegmentationClass/NAME.png` (a palette's index is the class, 255 the void
around objects) and the splits `ImageSets/Segmentation/{train,val,trainval}.txt` (Everingham et al.,
IJCV 2015). `config.data.masks="SegmentationClassAug"` takes the masks of that folder, which the
annotations of Hariharan et al. (ICCV 2011) are mostly shared as, with a list of their own.

Exports of other tools in this layout (CVAT, Datumaro, LabelMe) have classes and colours of their
own, in a file `labelmap.txt` or `class_names.txt` beside these folders; their only list is often
`default`.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.file_names import find_by_stem
from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.labels.mask_set import mask_set
from fcnjax.data.layout import PARTS, Layout, choose_split, fixed_layout, require_root
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.folders import IMAGE_ENDS, stem_of
from fcnjax.data.splits.lists import file_names, read_names
from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import inside

NAME_FILES = ("labelmap.txt", "class_names.txt")  # in which an export names its own classes
# As the development kit names them.
CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
# Of config.data.masks, the folder; "masks" is the config's default.
MASKS = {name: name for name in ("SegmentationClass", "SegmentationClassAug")} | {
    "masks": "SegmentationClass"
}


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """The kit's RGB colours of the first `count` indices, at most 256.

    An index's bits go to red, green and blue in turn, from the highest bit of each downward.
    """
    return tuple(
        tuple(
            sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(3))
            for channel in range(3)
        )
        for index in range(count)
    )


def find_pairs(data: ConfigDict, split: str) -> list[Pair]:
    """The images and masks of a split, in the order of its list.

    Raises:
        UserError: A folder is missing, the split is unknown, or an image or a mask is missing.
    """
    folder = _folder(Path(data.root))
    masks = folder / choose(MASKS, data.masks, "config.data.masks")
    lists = folder / "ImageSets" / "Segmentation"
    valid = sorted(path.stem for path in lists.glob("*.txt"))
    if not valid:
        raise UserError(f"{lists}: has no list of a split, such as train.txt")
    choose_split(data, split, valid)
    path, images = lists / f"{split}.txt", folder / "JPEGImages"
    file_names(masks)  # refuses a folder that is not there
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
        f"{root}: has no JPEGImages; config.data.root is the folder VOC2012, or the VOCdevkit "
        "above it"
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
)


def _resolve(config: ConfigDict) -> list[str]:
    """Finds the classes: those of VOC, or those of the file that an export has beside it."""
    data = config.data
    root = require_root(data)
    names = [path for path in (_folder(root) / name for name in NAME_FILES) if path.is_file()]
    if not names or data.labels.mask_values:
        return _FIXED.resolve(config)
    parts = [find_pairs(data, data.split[part]) for part in PARTS]
    pairs = [pair for part in parts for pair in part]
    turned = resolve_mask_exif(data, pairs)
    note = f"{data.root}: {len(parts[0])} images to train on, {len(parts[1])} held out"
    notes = [note + find_classes(data, mask_set(pairs)), *turned]
    if both := len({*parts[0]} & {*parts[1]}):
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    return notes


LAYOUT = Layout(_SUMMARY, _resolve, _FIXED.open)
