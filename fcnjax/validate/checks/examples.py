"""Checks of the examples of a dataset: faults, pixel types, orientations and classes."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from fcnjax.data.labels.mask_exif import choose_rule, find_untagged_masks
from fcnjax.data.layout import PARTS
from fcnjax.data.pixel_type import PIXEL_TYPES as VALID_TYPES
from fcnjax.data.sources.nifti import NiftiSource, group_by_orientation
from fcnjax.errors import join_names
from fcnjax.validate.example_summary import MISMATCH, UNREADABLE, UNUSABLE
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding, make_overrides
from fcnjax.validate.statistics import DatasetSummary

PIXEL_TYPES = "pixel types"
# Keys of `config.augment` that keep pixels within 0..1.
CLIPPING_KEYS = ("brightness", "contrast", "saturation", "gamma", "noise")
MAX_IGNORED = 0.5  # share of ignored pixels without a warning


def check_pixel_types(dataset: DatasetSummary) -> list[Finding]:
    """Report images of several pixel types.

    With `config.data.pixel_type` given, images of other types are converted as requested, or are
    reported as faults.
    """
    names = defaultdict(list)
    for example in dataset.examples:
        if example.pixel_type:
            names[example.pixel_type].append(example.name)
    if len(names) < 2:
        return []
    usual, *others = sorted(names, key=lambda each: -len(names[each]))
    counts = "; ".join(f"{len(names[t])} are {t}: {join_names(names[t])}" for t in others)
    text = f"the pixels of {len(names[usual])} images are {usual}, of {counts}"
    pixel_type = dataset.config.data.pixel_type
    if pixel_type is not None:
        return [Finding(WARNING, PIXEL_TYPES, f"{text}; all are taken by value as {pixel_type}")]
    text += (
        "; store them alike, or give config.data.pixel_type "
        f"({', '.join(VALID_TYPES)}), as which all are then taken by value"
    )
    return [Finding(ERROR, PIXEL_TYPES, text)]


def check_clipping(dataset: DatasetSummary) -> list[Finding]:
    """Report training images with pixels outside 0..1 that the augmentation would clip."""
    config = dataset.config
    keys = [f"augment.{key}" for key in CLIPPING_KEYS if config.augment[key]]
    names = [each.name for each in dataset.examples if each.part == "train" and not each.is_unit]
    if not keys or not names:
        return []
    text = (
        f"{len(names)} images of train have float pixels outside 0..1, such as {names[0]}, which "
        f"config.{', config.'.join(keys)} would clip to 0..1; config.data.pixel_type=uint16 scales "
        "non-negative integers"
    )
    overrides = make_overrides(config, dict.fromkeys(keys, 0.0))
    return [Finding(ERROR, "clipped pixels", text, overrides)]


def check_faults(dataset: DatasetSummary) -> Iterator[Finding]:
    """Report unreadable files, sizes that differ and unusable examples."""
    # With on_error=skip a run skips such examples, up to a limit.
    severity = WARNING if dataset.data.loading.on_error == "skip" else ERROR
    for kind in (UNREADABLE, MISMATCH, UNUSABLE):
        faults = (example.fault for example in dataset.examples if example.fault)
        if texts := [text for fault, text in faults if fault == kind]:
            text = f"{len(texts)} of {len(dataset.examples)} examples: {join_names(texts)}"
            yield Finding(severity, kind, text)


def check_exif(dataset: DatasetSummary) -> list[Finding]:
    """Report images with an EXIF orientation that their masks lack."""
    if dataset.config.data.labels.mask_exif != "auto":
        return []
    pairs = dataset.pairs or {p: getattr(dataset.sources[p], "pairs", []) for p in PARTS}
    turned = find_untagged_masks([pair for part in PARTS for pair in pairs[part]])
    if not turned:
        return []
    rule, text = choose_rule(turned)
    severity = WARNING if any(image.frame is None for image in turned) else NOTE
    overrides = make_overrides(dataset.config, {"data.labels.mask_exif": rule})
    return [Finding(severity, "EXIF orientation", text, overrides)]


def check_orientations(dataset: DatasetSummary) -> list[Finding]:
    """Report volumes that are stored in other orientations than the rest."""
    if dataset.resolved is None:
        return []
    orientation = dataset.data.nifti.orientation
    sources = [each for each in dataset.sources.values() if isinstance(each, NiftiSource)]
    images = dict.fromkeys(image for source in sources for image in source.images)
    files_by_orientation = group_by_orientation(list(images))
    if set(files_by_orientation) <= {orientation}:
        return []
    counts = "; ".join(
        f"{len(files)} {name or 'of no known orientation'}: "
        f"{join_names([file.name for file in files])}"
        for name, files in sorted(files_by_orientation.items(), key=lambda item: -len(item[1]))
    )
    text = f"volumes are stored {counts}; all are turned to {orientation}"
    if None in files_by_orientation:
        text += f", and those of no known orientation are read as {orientation}"
    severity = WARNING if None in files_by_orientation else NOTE
    return [Finding(severity, "orientations", text)]


def check_classes(dataset: DatasetSummary) -> Iterator[Finding]:
    """Report missing classes, labels that are no class, and ignored pixels."""
    if dataset.resolved is None:
        return
    # A class that was not seen may be in the labels that were not read.
    is_complete = dataset.is_complete
    names = np.asarray(dataset.data.class_names)
    for part, statistics in dataset.statistics.items():
        if not statistics.examples:
            continue
        num_present = int((statistics.counts > 0).sum())
        where = part if is_complete else f"the {statistics.examples} examples of {part} looked at"
        if part == "train" and num_present < 2:
            text = (
                f"the labels of {where} hold {num_present} class of {len(names)}: there is nothing "
                "to learn"
            )
            yield Finding(ERROR if is_complete else WARNING, "one class", text)
        elif num_present < len(names):
            text = f"{join_names(list(names[statistics.counts == 0]))}: in no label of {where}"
            text += ", so it has no score" if part == "eval" else ", so it is not learnt"
            yield Finding(WARNING if is_complete else NOTE, "empty class", text)
        if statistics.outside:
            text = f"{statistics.outside} pixels of {part} have a label that is no class"
            yield Finding(ERROR, "labels outside the classes", text)
        if statistics.blank and num_present >= 2:
            text = f"{len(statistics.blank)} labels of {part} are ignored completely: "
            yield Finding(WARNING, "ignored labels", text + join_names(statistics.blank))
        if statistics.ignored:
            severity = WARNING if statistics.ignored_share > MAX_IGNORED else NOTE
            text = f"{statistics.ignored_share:.1%} of the pixels of {part} are ignored"
            yield Finding(severity, "ignored pixels", text)
