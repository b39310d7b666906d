"""The keys of the subsections of `config.data`, such as `config.data.split`."""

import math

from fcnjax.config.key import Key, Scope, Valid, at_least, numbers, one_of, within
from fcnjax.config.sections.data_entries import (
    CLASS_PAIRS,
    COLOURS,
    IGNORED_VALUES,
    PATH,
    RENAMED_CLASSES,
    STORED_VALUES,
    TEXTS,
    WEIGHTED_CONFIGS,
)

_HERE = Scope.EVALUATE  # where other images to score are, and how they are stored
_DECODED = Scope.NOT_DECODED
_SPLIT = Scope.EVALUATE | Scope.SPLIT
_PROBABILITY = within(0, 1)


def _is_orientation(text: str) -> bool:
    # Three letters, one of each pair of opposite directions.
    return len(text) == 3 and all(set(pair) & set(text) for pair in ("RL", "AP", "SI"))


SPLIT = {
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

LABELS = {
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
        STORED_VALUES,
        scope=_HERE,
    ),
    "mask_colours": Key(
        (), "An RGB triple for each stored value of the encoding `rgb`.", COLOURS, scope=_HERE
    ),
    "mask_names": Key(
        (),
        "A name for each stored value of annotations by name. () finds them.",
        TEXTS,
        scope=_HERE,
    ),
    "ignore_values": Key(
        (), "Stored values that are ignored, as (0,) or (-1,).", IGNORED_VALUES, scope=_HERE
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
        RENAMED_CLASSES,
    ),
    "mirror_pairs": Key(
        (),
        "Pairs of classes, left and right, that change places where an image is mirrored.",
        CLASS_PAIRS,
    ),
}

LOADING = {
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

SAMPLING = {
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
        WEIGHTED_CONFIGS,
        scope=Scope.MACHINE | _DECODED,
    ),
    "shuffle_labels": Key(
        False, "Give each image the mask of another one, as a control experiment.", scope=_DECODED
    ),
}

COCO = {
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

GEOTIFF = {
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

NIFTI = {
    "axis": Key(2, "The axis along which slices are examples.", within(0, 2), scope=_SPLIT),
    "orientation": Key(
        None,
        "The orientation that all volumes are turned to, as `RAS`. None takes that of the first "
        "volume to train on.",
        Valid(_is_orientation, "one letter each of R or L, A or P, and S or I, as RAS"),
        str,
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
