"""CamVid: road scenes from a driver's view, in the original layout or that of the SegNet tutorial.

The original (Brostow, Fauqueur, Cipolla, Pattern Recognition Letters 2009): photographs
`701_StillsRaw_full/NAME.png` (or `images/`) and masks `LabeledApproved_full/NAME_L.png` (or
`labels/`) with a colour for each of 32 classes, of which Void is ignored. It has no splits:
`train.txt`, `val.txt` and `test.txt` in the root list the names.

The tutorial's (Badrinarayanan, Kendall, Cipolla, PAMI 2017): `train/NAME.png`,
`trainannot/NAME.png`, and likewise `val` and `test`, with 11 classes as 0 to 10; 11 is ignored.
"""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.layout import choose_split, fixed_layout, require_folders, variant_layout
from fcnjax.data.pairs import Pair
from fcnjax.data.sources.benchmarks.palette import parse_palette
from fcnjax.data.splits.folders import pair_folders
from fcnjax.data.splits.lists import listed_pairs
from fcnjax.errors import UserError, choose

SPLITS = ("train", "val", "test")
IMAGES = ("701_StillsRaw_full", "images")
MASKS = ("LabeledApproved_full", "labels")
# In the order and with the colours of the dataset's label_colors.txt.
COLOURS = parse_palette(
    """
    Animal 408040, Archway c00080, Bicyclist 0080c0, Bridge 008040, Building 800000, Car 400080,
    CartLuggagePram 4000c0, Child c08040, Column_Pole c0c080, Fence 404080, LaneMkgsDriv 8000c0,
    LaneMkgsNonDriv c00040, Misc_Text 808040, MotorcycleScooter c000c0, OtherMoving 804040,
    ParkingBlock 40c080, Pedestrian 404000, Road 804080, RoadShoulder 8080c0, Sidewalk 0000c0,
    SignSymbol c08080, Sky 808080, SUVPickupTruck 4080c0, TrafficCone 000040, TrafficLight 004040,
    Train c04080, Tree 808000, Truck_Bus c080c0, Tunnel 400040, VegetationMisc c0c000, Void 000000,
    Wall 40c000
    """
)
CLASSES = {name: colour for name, colour in COLOURS.items() if name != "Void"}
# In the order of the tutorial's ids, with the colours of its scripts.
TUTORIAL = parse_palette(
    """
    Sky 808080, Building 800000, Pole c0c080, Road 804080, Pavement 3c28de, Tree 808000,
    SignSymbol c08080, Fence 404080, Car 400080, Pedestrian 404000, Bicyclist 0080c0
    """
)


def find_coloured(data: ConfigDict, split: str) -> list[Pair]:
    """Return the images and coloured masks of a split, in the order of its list.

    Raises:
        UserError: The split is unknown, has no list, or an image or a mask is missing.
    """
    root = Path(data.root)
    path = root / f"{choose_split(data, split, SPLITS)}.txt"
    if not path.is_file():
        raise UserError(
            f"{path}: no such list; CamVid has no splits: list the images of the split there, one "
            "a line, as 0001TP_006690"
        )
    images, masks = (_first_folder(root, names) for names in (IMAGES, MASKS))
    return listed_pairs(path, images, masks, ".png", "_L.png")


def find_tutorial(data: ConfigDict, split: str) -> list[Pair]:
    """Return the images and masks of a split in the tutorial's layout, paired by name.

    Raises:
        UserError: The split is unknown, a folder is missing or empty, or a file has no partner.
    """
    split = choose_split(data, split, SPLITS)
    folders = [Path(data.root) / name for name in (split, f"{split}annot")]
    require_folders(folders, "a split has two, as 'train' and 'trainannot'")
    return pair_folders(*folders)


def _first_folder(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise UserError(f"{root}: has no folder {' or '.join(names)}")


def _find_encoding(data: ConfigDict) -> str:
    """Return the encoding of the masks, which differs between the two layouts."""
    if data.labels.encoding:
        choose(_VARIANTS, data.labels.encoding, "config.data.labels.encoding")
        return data.labels.encoding
    root = Path(data.root)
    if any((root / f"{split}annot").is_dir() for split in SPLITS):
        return "ids"
    if any((root / name).is_dir() for name in MASKS):
        return "rgb"
    raise UserError(f"{root}: has neither trainannot nor {' nor '.join(MASKS)}")


_SUMMARY = "CamVid: 701_StillsRaw_full, LabeledApproved_full, train.txt; or train, trainannot"
_VARIANTS = {
    "rgb": fixed_layout(
        _SUMMARY,
        find_coloured,
        {
            "labels.mask_colours": tuple(COLOURS.values()),
            "class_names": tuple(CLASSES),
            "palette": tuple(CLASSES.values()),
            "labels.mask_values": tuple(i for i, name in enumerate(COLOURS) if name != "Void"),
            "labels.ignore_values": tuple(i for i, name in enumerate(COLOURS) if name == "Void"),
        },
        reference="Brostow et al., Pattern Recognition Letters 2009",
    ),
    "ids": fixed_layout(
        _SUMMARY,
        find_tutorial,
        {
            "class_names": tuple(TUTORIAL),
            "palette": tuple(TUTORIAL.values()),
            "labels.mask_values": tuple(range(len(TUTORIAL))),
            "labels.ignore_values": (len(TUTORIAL),),
        },
    ),
}
LAYOUT = variant_layout("labels.encoding", _find_encoding, _VARIANTS)
