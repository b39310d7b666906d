"""Pascal VOC 2012 for segmentation: 20 kinds of object and the background.

`JPEGImages/NAME.jpg`, `SegmentationClass/NAME.png` (a palette's index is the class, 255 the void
around objects) and the splits `ImageSets/Segmentation/{train,val,trainval}.txt` (Everingham et al.,
IJCV 2015). `config.data.masks="SegmentationClassAug"` takes the masks of that folder, which the
annotations of Hariharan et al. (ICCV 2011) are mostly shared as, with a list of their own.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.layout import choose_split, fixed_layout
from fcnjax.data.lists import listed_pairs
from fcnjax.data.pairs import Pair
from fcnjax.errors import UserError, choose

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
    return listed_pairs(lists / f"{split}.txt", folder / "JPEGImages", masks, ".jpg", ".png")


def _folder(root: Path) -> Path:
    for folder in (root, root / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise UserError(
        f"{root}: has no JPEGImages; config.data.root is the folder VOC2012, or the VOCdevkit "
        "above it"
    )


LAYOUT = fixed_layout(
    "Pascal VOC 2012: JPEGImages, SegmentationClass, ImageSets/Segmentation; or VOCdevkit above",
    find_pairs,
    {
        "encoding": "ids",
        "class_names": CLASS_NAMES,
        "palette": voc_palette(len(CLASS_NAMES)),
        "mask_values": tuple(range(len(CLASS_NAMES))),
        "ignore_values": (255,),
    },
)
