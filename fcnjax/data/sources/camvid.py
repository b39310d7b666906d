"""CamVid: road scenes from a driver's view, in its own form or in that of the SegNet tutorial.

Its own (Brostow, Fauqueur, Cipolla, Pattern Recognition Letters 2009): photographs
`701_StillsRaw_full/NAME.png` (or `images/`) and masks `LabeledApproved_full/NAME_L.png` (or
`labels/`), a colour for each of 32 classes, of which Void is ignored. It comes without splits:
`train.txt`, `val.txt` and `test.txt` in the root list the names.

The tutorial's (Badrinarayanan, Kendall, Cipolla, PAMI 2017): `train/NAME.png`,
`trainannot/NAME.png`, and so `val` and `test`: 11 classes as 0 to 10, and 11 is ignored.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.layout import Layout, choose_split, fixed_layout, require_root
from fcnjax.data.pairs import Pair
from fcnjax.data.source import Source
from fcnjax.data.splits.folders import pair_folders
from fcnjax.data.splits.lists import listed_pairs
from fcnjax.errors import UserError, choose

SPLITS = ("train", "val", "test")
IMAGES = ("701_StillsRaw_full", "images")
MASKS = ("LabeledApproved_full", "labels")
SUMMARY = "CamVid: 701_StillsRaw_full, LabeledApproved_full, train.txt; or train, trainannot"
# In the order and the colours of the set's label_colors.txt.
COLOURS = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
# In the order of the tutorial's ids, with the colours of its scripts.
TUTORIAL = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}


def find_coloured(data: ConfigDict, split: str) -> list[Pair]:
    """The images and coloured masks of a split, in the order of its list.

    Raises:
        UserError: An unknown split, no list of it, or an image or a mask that is missing.
    """
    root = Path(data.root)
    path = root / f"{choose_split(data, split, SPLITS)}.txt"
    if not path.is_file():
        raise UserError(
            f"{path}: no such list; CamVid comes without splits: name a split's images there, as "
            "0001TP_006690, one a line"
        )
    images, masks = (_first(root, names) for names in (IMAGES, MASKS))
    return listed_pairs(path, images, masks, ".png", "_L.png")


def find_tutorial(data: ConfigDict, split: str) -> list[Pair]:
    """The images and masks of a split in the tutorial's form, by name.

    Raises:
        UserError: An unknown split, a folder that is missing or empty, or a file without partner.
    """
    split = choose_split(data, split, SPLITS)
    folders = [Path(data.root) / name for name in (split, f"{split}annot")]
    for path in folders:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; a split has two, as 'train' and 'trainannot'")
    return pair_folders(*folders)


def _first(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise UserError(f"{root}: has no folder {' or '.join(names)}")


def _encoding(data: ConfigDict) -> str:
    """How the masks are stored, which tells the two forms apart."""
    if data.labels.encoding:
        choose(_LAYOUTS, data.labels.encoding, "config.data.labels.encoding")
        return data.labels.encoding
    root = Path(data.root)
    if any((root / f"{split}annot").is_dir() for split in SPLITS):
        return "ids"
    if any((root / name).is_dir() for name in MASKS):
        return "rgb"
    raise UserError(f"{root}: has neither trainannot nor {' nor '.join(MASKS)}")


_LAYOUTS = {
    "rgb": fixed_layout(
        SUMMARY,
        find_coloured,
        {
            "labels.mask_colours": tuple(COLOURS.values()),
            "class_names": tuple(name for name in COLOURS if name != "Void"),
            "palette": tuple(colour for name, colour in COLOURS.items() if name != "Void"),
            "labels.mask_values": tuple(i for i, name in enumerate(COLOURS) if name != "Void"),
            "labels.ignore_values": tuple(i for i, name in enumerate(COLOURS) if name == "Void"),
        },
    ),
    "ids": fixed_layout(
        SUMMARY,
        find_tutorial,
        {
            "class_names": tuple(TUTORIAL),
            "palette": tuple(TUTORIAL.values()),
            "labels.mask_values": tuple(range(len(TUTORIAL))),
            "labels.ignore_values": (len(TUTORIAL),),
        },
    ),
}


def _resolve(config: ConfigDict) -> list[str]:
    require_root(config.data)
    config.data.labels.encoding = _encoding(config.data)
    return _LAYOUTS[config.data.labels.encoding].resolve(config)


def _open(config: ConfigDict, part: str) -> Source:
    return _LAYOUTS[config.data.labels.encoding].open(config, part)


LAYOUT = Layout(SUMMARY, _resolve, _open)
