"""Cityscapes: road scenes of 50 cities, evaluated on 19 classes.

`leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png` and, under gtFine,
`NAME_gtFine_labelIds.png` with 34 ids (Cordts et al., CVPR 2016) or, if there are none,
`NAME_gtFine_labelTrainIds.png` as the dataset's scripts write them: 0 to 18, and 255.
`config.data.masks` selects `labelIds` or `labelTrainIds`; by default the files that exist are used.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folder_files import is_hidden
from fcnjax.data.layout import Layout, choose_split, require_folders, variant_layout
from fcnjax.data.pair_layout import fixed_layout
from fcnjax.data.pairs import Pair
from fcnjax.errors import UserError, choose

SPLITS = ("train", "val", "test")
IMAGE_END = "_leftImg8bit.png"
# The evaluated classes: id and colour, as in cityscapesscripts.helpers.labels.
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
_IDS = tuple(number for number, _ in CLASSES.values())
# The stored values of the classes and of ignored pixels, for each kind of mask.
STORED = {
    "labelIds": (_IDS, tuple(number for number in range(34) if number not in _IDS)),
    "labelTrainIds": (tuple(range(len(CLASSES))), (255,)),
}


def find_pairs(data: ConfigDict, split: str) -> list[Pair]:
    """Return the images and masks of a split, paired by city and name.

    Raises:
        UserError: The split is unknown, has no image, or an image has no mask.
    """
    images, masks = _split_folders(data, split)
    mask_end = f"_gtFine_{data.masks}.png"
    paths = sorted(p for p in images.glob(f"*/*{IMAGE_END}") if not is_hidden(p.name))
    if not paths:
        raise UserError(f"{images}: has no CITY/NAME{IMAGE_END}")
    mask_paths = set(masks.glob(f"*/*{mask_end}"))
    pairs = []
    for image in paths:
        mask = masks / image.parent.name / f"{image.name.removesuffix(IMAGE_END)}{mask_end}"
        if mask not in mask_paths:
            raise UserError(f"{image}: has no mask {mask}")
        pairs.append((image, mask))
    return pairs


def _split_folders(data: ConfigDict, split: str) -> list[Path]:
    """Return the folders of a split's images and masks."""
    choose_split(data, split, SPLITS)
    folders = [Path(data.root) / kind / split for kind in ("leftImg8bit", "gtFine")]
    require_folders(folders, "config.data.root is the folder with 'leftImg8bit' and 'gtFine'")
    return folders


def _find_masks(data: ConfigDict) -> str:
    """Return the kind of masks that the config names or, by default, that exists."""
    if data.masks != "masks":  # the config's default
        choose(STORED, data.masks, "config.data.masks")
        return data.masks
    _, masks = _split_folders(data, data.split.train)
    for kind in STORED:
        if any(masks.glob(f"*/*_gtFine_{kind}.png")):
            return kind
    raise UserError(f"{masks}: has no CITY/NAME_gtFine_{'.png or _gtFine_'.join(STORED)}.png")


def _layout(kind: str) -> Layout:
    mask_values, ignore_values = STORED[kind]
    return fixed_layout(
        "Cityscapes: leftImg8bit/train/CITY, gtFine/train/CITY, .../val, .../test",
        find_pairs,
        {
            "labels.encoding": "ids",
            "class_names": tuple(CLASSES),
            "palette": tuple(colour for _, colour in CLASSES.values()),
            "labels.mask_values": mask_values,
            "labels.ignore_values": ignore_values,
        },
        reference="Cordts et al., CVPR 2016",
    )


LAYOUT = variant_layout("masks", _find_masks, {kind: _layout(kind) for kind in STORED})
