"""The keys of `config.data`."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fcnjax.config.key import (
    Key,
    Scope,
    Valid,
    at_least,
    each,
    is_number,
    numbers,
    one_of,
    within,
)

LONGEST_NAME = 1000  # bytes of a file name: three of them and a file's name make a path
_HERE = Scope.EVALUATE  # where other images to score are, and how they are stored
_DECODED = Scope.NOT_DECODED
_SPLIT = Scope.EVALUATE | Scope.SPLIT


def _is_path(name: str) -> bool:
    return "\0" not in name and len(name.encode(errors="replace")) <= LONGEST_NAME


PATH = Valid(_is_path, f"a file name of at most {LONGEST_NAME} bytes, none of them NUL")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_class_value(entry: Any) -> bool:
    entries = entry if isinstance(entry, list | tuple) else (entry,)
    return bool(entries) and all(isinstance(value, int) and value >= 0 for value in entries)


def _is_colour(entry: Any) -> bool:
    is_triple = isinstance(entry, list | tuple) and len(entry) == 3
    return is_triple and all(isinstance(part, int) and 0 <= part <= 255 for part in entry)


def _pairs(second: Callable[[Any], bool], text: str) -> Valid:
    def fits(entry: Any) -> bool:
        is_pair = isinstance(entry, list | tuple) and len(entry) == 2
        return is_pair and _is_text(entry[0]) and second(entry[1])

    return each(fits, text)


_TEXTS = each(_is_text, "texts")
_COLOURS = each(_is_colour, "RGB triples in 0..255, as (128,0,0)")
_NUMBERS = each(is_number, "numbers")
_PROBABILITY = within(0, 1)

_SET = {
    "source": Key(
        "folder",
        "How the data set is stored. `fcnjax data sources` lists the sources.",
        scope=_SPLIT,
    ),
    "root": Key(
        "",
        "The folder of the data set.",
        PATH,
        scope=_HERE | Scope.PLACE | Scope.MACHINE,
    ),
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
    "class_names": Key((), "The names of the classes, by id. () finds them in the data.", _TEXTS),
    "palette": Key((), "An RGB triple for each class. () picks them.", _COLOURS, scope=_DECODED),
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
        _NUMBERS,
        scope=_DECODED,
    ),
    "std": Key(
        (0.229, 0.224, 0.225),
        "Standard deviation of each channel, of pixels scaled to 0..1 (float32: not scaled).",
        _NUMBERS,
        scope=_DECODED,
    ),
    "check": Key(
        True,
        "Look at some of the data before training, as `fcnjax data check` does.",
        scope=Scope.RESUME | _DECODED,
    ),
}

_SPLITS = {
    "by": Key(
        "auto",
        "How images are divided into training and evaluation: by `list`s of names, by `folder`s, "
        "or a random `fraction`. `geotiff` and `nifti` have `blocks` too, `geotiff` has `windows`. "
        "`auto` takes what is there.",
        scope=_SPLIT,
    ),
    "train": Key("train", "The split to train on.", PATH, scope=Scope.MACHINE_IF_PATH),
    "eval": Key("val", "The split to evaluate on.", PATH, scope=_SPLIT | Scope.MACHINE_IF_PATH),
    "eval_fraction": Key(
        0.2,
        "The fraction that is held out where images are divided by `fraction`, `blocks` or "
        "`windows`.",
        within(0, 1),
        scope=_SPLIT,
    ),
    "seed": Key(0, "The seed of a random split.", at_least(0), scope=_SPLIT),
    "folds": Key(
        0,
        "The number of parts of a cross-validation, where images are divided by `fraction` or "
        "`windows`; 0 for none.",
        within(0, 10_000),
        scope=_SPLIT,
    ),
    "fold": Key(0, "The part that is held out, from 0.", within(0, 9_999), scope=_SPLIT),
    "group_by": Key(
        "",
        "A regular expression that finds in a file's name what must not be divided, as a patient: "
        r"`(p\d+)_`.",
        scope=_SPLIT,
    ),
}

_LABELS = {
    "encoding": Key(
        None,
        "How masks store classes: `ids`, `rgb`, `onehot` or `instances`. None looks at them.",
        kind=str,
        scope=_HERE,
    ),
    "mask_values": Key(
        (),
        "The stored value of each class, as (0,255); several values of a class as a tuple. () "
        "finds them.",
        each(_is_class_value, "whole numbers from 0 on, or several of them as a tuple"),
        scope=_HERE,
    ),
    "mask_colours": Key(
        (), "An RGB triple for each stored value of the encoding `rgb`.", _COLOURS, scope=_HERE
    ),
    "mask_names": Key(
        (),
        "A name for each stored value of annotations by name. () finds them.",
        _TEXTS,
        scope=_HERE,
    ),
    "ignore_values": Key(
        (),
        "Stored values that are ignored, as (0,) or (-1,).",
        each(lambda value: isinstance(value, int), "whole numbers, as 0 or -1"),
        scope=_HERE,
    ),
    "mask_exif": Key(
        "auto",
        "What masks without the EXIF orientation of their images show: the `stored` pixels or the "
        "`turned` picture. `auto` looks at the sizes and at other images.",
        one_of("auto", "stored", "turned"),
        scope=_HERE,
    ),
    "label_map": Key(
        (),
        'Pairs of a class and its new name, to rename, to merge, or, with the name "", to ignore '
        "classes.",
        _pairs(_is_text, "pairs of a class and its new name"),
    ),
    "mirror_pairs": Key(
        (),
        "Pairs of classes, left and right, that change places where an image is mirrored.",
        _pairs(_is_text, "pairs of two classes"),
    ),
}

_LOADING = {
    "cache": Key(
        None,
        "Where decoded examples are kept: `device` holds the whole set, `host` keeps it in memory, "
        "`disk` in the cache folder.",
        one_of("device", "disk", "host"),
        str,
        scope=Scope.RESUME | Scope.MACHINE | _DECODED,
    ),
    "workers": Key(
        0,
        "Processes that read and decode.",
        within(0, 1024),
        scope=Scope.RESUME | Scope.MACHINE | _DECODED,
    ),
    "on_error": Key(
        "raise",
        "What happens to an example that cannot be read: `raise` stops, `skip` leaves it out.",
        one_of("raise", "skip"),
        scope=Scope.RESUME | _HERE,
    ),
    "skip_most": Key(
        0.1,
        "The greatest share of the examples that `on_error=skip` may leave out.",
        _PROBABILITY,
        scope=Scope.RESUME | _HERE | _DECODED,
    ),
}

_SAMPLING = {
    "class_crop": Key(
        0.0,
        "The share of crops around a pixel of a class that is drawn evenly.",
        _PROBABILITY,
        scope=_DECODED,
    ),
    "foreground_crop": Key(
        0.0,
        "The share of crops around a pixel that is not of class 0.",
        _PROBABILITY,
        scope=_DECODED,
    ),
    "mix": Key(
        (),
        "Pairs of a config and a weight: sets to train on beside this one, whose weight is 1.",
        _pairs(is_number, "pairs of a config and its weight"),
        scope=Scope.MACHINE | _DECODED,
    ),
    "shuffle_labels": Key(
        False,
        "Give each image the mask of another one, as a control experiment.",
        scope=_DECODED,
    ),
}

_COCO = {
    "crowd": Key(
        None,
        "What annotations with iscrowd=1 become: `ignore` or `object`. None decides by their "
        "number.",
        one_of("ignore", "object"),
        str,
        scope=_HERE,
    ),
    "boxes": Key(
        "ignore",
        "What boxes without a shape become: ignored pixels, or a filled `object`.",
        one_of("ignore", "object"),
        scope=_HERE,
    ),
}

_GEOTIFF = {
    "window": Key(
        (),
        "Height and width of an example, which is a window of a raster. () is 512,512.",
        numbers(
            lambda value: not value or (len(value) == 2 and min(value) > 0),
            "a height and width over 0",
            int,
        ),
        scope=_SPLIT,
    ),
}

_NIFTI = {
    "axis": Key(2, "The axis along which slices are examples.", within(0, 2), scope=_SPLIT),
    "orientation": Key(
        None,
        "The orientation that all volumes are turned to, as `RAS`. None takes that of the first "
        "volume to train on.",
        kind=str,
    ),
    "intensity": Key(
        (),
        "The intensities of black and white. () takes the percentiles of each volume.",
        numbers(
            lambda value: not value or (len(value) == 2 and -math.inf < value[0] < value[1]),
            "a low and a higher number",
        ),
        scope=_HERE,
    ),
}

# The sources that read a subsection of their own. A sample set is stored as one of them.
OF_SOURCES = {
    "coco": ("coco",),
    "geotiff": ("geotiff", "landsat8_cloud"),
    "nifti": ("nifti", "colin27_aal"),
}
_SUBSECTIONS = {
    "split": _SPLITS,
    "labels": _LABELS,
    "loading": _LOADING,
    "sampling": _SAMPLING,
    "coco": _COCO,
    "geotiff": _GEOTIFF,
    "nifti": _NIFTI,
}
DATA = _SET | {
    f"{section}.{name}": replace(key, used_by=OF_SOURCES.get(section, ()))
    for section, keys in _SUBSECTIONS.items()
    for name, key in keys.items()
}
