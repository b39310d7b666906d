"""Cityscapes: road scenes of 50 cities, evaluated on 19 classes.

`leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png` and, under gtFine,
`NAME_gtFine_labelIds.png` with 34 ids (Cordts et al., CVPR 2016) or, if there are none,
`NAME_gtFine_labelTrainIds.png` as the dataset's scripts write them: 0 to 18, and 255.
`config.data.masks` selects `labelIds` or `labelTrainIds`; by default the files that exist are used.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folders import is_hidden
from fcnjax.data.layout import Layout, choose_split, fixed_layout, require_folders, variant_layout
from fcnjax.data.pairs import Pair
from fcnjax.data.sources.benchmarks.palette import parse_palette
from fcnjax.errors import UserError, choose

SPLITS = ("train", "val", "test")
IMAGE_END = "_leftImg8bit.png"
# The evaluated classes with their colours and ids, as in cityscapesscripts.helpers.labels.
CLASSES = parse_palette(
    """
    road 804080, sidewalk f423e8, building 464646, wall 66669c, fence be9999, pole 999999,
    traffic light faaa1e, traffic sign dcdc00, vegetation 6b8e23, terrain 98fb98, sky 4682b4,
    person dc143c, rider ff0000, car 00008e, truck 000046, bus 003c64, train 005064,
    motorcycle 0000e6, bicycle 770b20
    """
)
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
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
            "palette": tuple(CLASSES.values()),
            "labels.mask_values": mask_values,
            "labels.ignore_values": ignore_values,
        },
        reference="Cordts et al., CVPR 2016",
    )


LAYOUT = variant_layout("masks", _find_masks, {kind: _layout(kind) for kind in STORED})
