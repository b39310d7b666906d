"""Cityscapes: road scenes of 50 cities, scored on 19 classes.

`leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png` and, under gtFine,
`NAME_gtFine_labelIds.png`, which store 34 ids (Cordts et al., CVPR 2016). Where there is none of
them, the `NAME_gtFine_labelTrainIds.png` that the set's own scripts make: 0 to 18, and 255.
`config.data.masks` says which, `labelIds` or `labelTrainIds`; as it stands, it looks.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folder_files import is_hidden
from fcnjax.data.layout import Layout, choose_split, fixed_layout, require_root
from fcnjax.data.pairs import Pair
from fcnjax.data.source import Source
from fcnjax.errors import UserError, choose

SPLITS = ("train", "val", "test")
IMAGE_END = "_leftImg8bit.png"
# The classes that are scored: id and colour, as in cityscapesscripts.helpers.labels.
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
# What each kind of mask stores of the classes, and of what is ignored.
STORED = {
    "labelIds": (_IDS, tuple(number for number in range(34) if number not in _IDS)),
    "labelTrainIds": (tuple(range(len(CLASSES))), (255,)),
}
SUMMARY = "Cityscapes: leftImg8bit/train/CITY, gtFine/train/CITY, .../val, .../test"


def find_pairs(data: ConfigDict, split: str) -> list[Pair]:
    """The images and masks of a split, by city and name.

    Raises:
        UserError: An unknown split, no image, or an image without a mask.
    """
    images, masks = _folders(data, split)
    mask_end = f"_gtFine_{data.masks}.png"
    paths = sorted(p for p in images.glob(f"*/*{IMAGE_END}") if not is_hidden(p.name))
    if not paths:
        raise UserError(f"{images}: has no CITY/NAME{IMAGE_END}")
    there = set(masks.glob(f"*/*{mask_end}"))
    pairs = []
    for image in paths:
        mask = masks / image.parent.name / f"{image.name.removesuffix(IMAGE_END)}{mask_end}"
        if mask not in there:
            raise UserError(f"{image}: has no mask {mask}")
        pairs.append((image, mask))
    return pairs


def _folders(data: ConfigDict, split: str) -> tuple[Path, Path]:
    """The folders of a split's images and masks."""
    choose_split(data, split, SPLITS)
    images, masks = (Path(data.root) / kind / split for kind in ("leftImg8bit", "gtFine"))
    for path in (images, masks):
        if not path.is_dir():
            raise UserError(
                f"{path}: no such folder; config.data.root is the one that holds 'leftImg8bit' "
                "and 'gtFine'"
            )
    return images, masks


def _kind(data: ConfigDict) -> str:
    """Which masks to read: those that the config names, or that are there."""
    if data.masks != "masks":  # the config's default
        choose(STORED, data.masks, "config.data.masks")
        return data.masks
    _, masks = _folders(data, data.split.train)
    for kind in STORED:
        if any(masks.glob(f"*/*_gtFine_{kind}.png")):
            return kind
    raise UserError(f"{masks}: has no CITY/NAME_gtFine_{'.png or _gtFine_'.join(STORED)}.png")


def _layout(kind: str) -> Layout:
    mask_values, ignore_values = STORED[kind]
    fixed = {
        "labels.encoding": "ids",
        "class_names": tuple(CLASSES),
        "palette": tuple(colour for _, colour in CLASSES.values()),
        "labels.mask_values": mask_values,
        "labels.ignore_values": ignore_values,
    }
    return fixed_layout(SUMMARY, find_pairs, fixed)


_LAYOUTS = {kind: _layout(kind) for kind in STORED}


def _resolve(config: ConfigDict) -> list[str]:
    require_root(config.data)
    # Stated, so that a copy of the set with other masks is not read by the values of these.
    config.data.masks = _kind(config.data)
    return _LAYOUTS[config.data.masks].resolve(config)


def _open(config: ConfigDict, part: str) -> Source:
    return _LAYOUTS[config.data.masks].open(config, part)


LAYOUT = Layout(SUMMARY, _resolve, _open)
