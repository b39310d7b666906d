"""The keys of `config.data`."""

from dataclasses import replace

from fcnjax.config.key import Key, Scope, one_of
from fcnjax.config.sections.data_entries import COLOURS, NUMBERS, PATH, TEXTS
from fcnjax.config.sections.data_subsections import (
    COCO,
    GEOTIFF,
    LABELS,
    LOADING,
    NIFTI,
    SAMPLING,
    SPLIT,
)

_HERE = Scope.EVALUATE  # where other images to score are, and how they are stored
_DECODED = Scope.NOT_DECODED
_SPLIT = Scope.EVALUATE | Scope.SPLIT

_SET = {
    "source": Key(
        "folder",
        "How the data set is stored. `fcnjax data sources` lists the sources.",
        scope=_SPLIT,
    ),
    "root": Key("", "The folder of the data set.", PATH, scope=_HERE | Scope.PLACE | Scope.MACHINE),
    "name": Key(
        "",
        "The name of the data set, as in its library.",
        used_by=("tfds", "hf"),
        scope=_HERE | Scope.PLACE | Scope.MACHINE,
    ),
    "images": Key(
        "images",
        "The folder or column of the images.",
        PATH,
        scope=_HERE | Scope.PLACE | Scope.MACHINE_IF_PATH,
    ),
    "masks": Key(
        "masks",
        "The folder or column of the masks. `stare` has those of two experts, `labels-ah` and "
        "`labels-vk`.",
        PATH,
        scope=_HERE | Scope.PLACE | Scope.MACHINE_IF_PATH,
    ),
    "mask_suffix": Key(
        "",
        "The end of a mask's name after the name of its image, as `_mask`.",
        PATH,
        used_by=("folder", "geotiff", "nifti"),
        scope=_HERE,
    ),
    "annotations": Key(
        "",
        "The file of the annotations or of the list; the folder of LabelMe's files.",
        PATH,
        used_by=("listing", "coco", "labelme", "cvat", "labelstudio", "via"),
        scope=_HERE | Scope.PLACE | Scope.MACHINE,
    ),
    "class_names": Key((), "The names of the classes, by id. () finds them in the data.", TEXTS),
    "palette": Key((), "An RGB triple for each class. () picks them.", COLOURS, scope=_DECODED),
    "ignore_label": Key(
        255, "The label of pixels that do not count. It is greater than every class id."
    ),
    "channels": Key("RGB", "`RGB`, `L` (grey), or the names of the bands, as `B2,B3,B4`."),
    "pages": Key(
        "",
        "How a file of several pages is read: `first` reads its first page, `channels` reads each "
        'page as a band, "" refuses it.',
        one_of("", "channels", "first"),
        scope=_HERE,
    ),
    "pixel_type": Key(
        None,
        "The type, and so the scale, of all pixels that the model sees. Other types are converted "
        "by value. None takes the type of the images.",
        one_of("uint8", "uint16", "float32"),
        str,
    ),
    "mean": Key(
        (0.485, 0.456, 0.406),
        "Mean of each channel, of pixels scaled to 0..1 (float32: not scaled).",
        NUMBERS,
        scope=_DECODED,
    ),
    "std": Key(
        (0.229, 0.224, 0.225),
        "Standard deviation of each channel, of pixels scaled to 0..1 (float32: not scaled).",
        NUMBERS,
        scope=_DECODED,
    ),
    "check": Key(
        True,
        "Look at some of the data before training, as `fcnjax data check` does.",
        scope=Scope.RESUME | _DECODED,
    ),
}

# The sources that read a subsection of their own. A sample set is stored as one of them.
OF_SOURCES = {
    "coco": ("coco",),
    "geotiff": ("geotiff", "landsat8_cloud"),
    "nifti": ("nifti", "colin27_aal"),
}
_SUBSECTIONS = {
    "split": SPLIT,
    "labels": LABELS,
    "loading": LOADING,
    "sampling": SAMPLING,
    "coco": COCO,
    "geotiff": GEOTIFF,
    "nifti": NIFTI,
}
DATA = _SET | {
    f"{section}.{name}": replace(key, used_by=OF_SOURCES.get(section, ()))
    for section, keys in _SUBSECTIONS.items()
    for name, key in keys.items()
}
