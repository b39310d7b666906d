"""Checks of how masks encode classes, with the lines of a config that declare it."""

from collections.abc import Iterable, Sequence

from ml_collections import ConfigDict

from fcnjax.data.labels.channel_classes import MAX_UNSET_SHARE
from fcnjax.data.labels.classes import MAX_MASK_VALUES, find_classes, join_values
from fcnjax.data.labels.mask_set import MaskSet
from fcnjax.data.labels.masks import stored_values
from fcnjax.errors import UserError, join_names
from fcnjax.validate.checks.blended_masks import check_blending
from fcnjax.validate.checks.proposals import (
    KIND,
    STRAYS,
    describe_proposal,
    encoding_overrides,
    given_names,
    known_values,
    propose_encoding,
    propose_names,
)
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding, make_overrides
from fcnjax.validate.masks import RGB, MaskStatistics
from fcnjax.validate.statistics import DatasetSummary

OUTSIDE = "values outside the classes"
NO_CHANNEL = "pixels in no channel"


def check_encodings(dataset: DatasetSummary) -> list[Finding]:
    """Compare what mask files store with what the config says about them."""
    masks, config, resolved = dataset.masks, dataset.config, dataset.resolved
    if not masks.files:
        return []
    findings = check_blending(dataset) + _mixed_kinds(masks)
    if masks.kinds["onehot"]:
        return findings + _channels(dataset)
    if not masks.sound:
        return findings
    if masks.alpha:
        return [*findings, _alpha(masks)]
    if masks.blended and len(masks.pixels) < 2:
        return findings  # the sound masks are empty, and say nothing more
    data = resolved.data if resolved else _find_classes(masks, config)
    if masks.kinds["rgb"]:
        return findings + check_colours(masks, config, data)
    if palettes_differ(masks):
        return findings + check_palettes(masks, config, data)
    if masks.numbers_objects and not _is_declared(masks, config):
        return findings + _instances(masks, config, data)
    if data is not None and data.labels.encoding == "rgb":
        return findings + check_colours(masks, config, data)
    if data is not None and data.labels.encoding not in (None, "ids"):
        return findings
    return findings + _ids(masks, config, data)


def _find_classes(masks: MaskStatistics, config: ConfigDict) -> ConfigDict | None:
    """Return `config.data` with the classes of the sound masks; None if they cannot be found."""
    data = config.copy_and_resolve_references().data
    try:
        find_classes(data, MaskSet(masks.sound, masks.images))
    except UserError:
        return None
    return data if len(data.class_names) == len(data.labels.mask_values) else None


def _mixed_kinds(masks: MaskStatistics) -> list[Finding]:
    # The empty masks of an RGB dataset may be grey, which is not a mixture.
    if len(masks.kinds) < 2 or not masks.kinds.keys() & {"palette", "onehot"}:
        return []
    kinds = ", ".join(f"{n} {kind} (as {masks.first[kind]})" for kind, n in masks.kinds.items())
    return [Finding(WARNING, "mixed masks", f"the masks are of several kinds: {kinds}")]


def _alpha(masks: MaskStatistics) -> Finding:
    text = (
        f"{len(masks.alpha)} of {masks.files} masks have one colour, and shapes only in their "
        f"alpha channel, which is not read: {join_names(masks.alpha)}; write that channel as the "
        "mask"
    )
    return Finding(ERROR, KIND, text)


def _is_declared(masks: MaskStatistics, config: ConfigDict) -> bool:
    """Return whether the user named more than two classes, enough for all values."""
    num_classes = max(len(given_names(config)), len(config.data.labels.mask_values))
    return num_classes > 2 and len(masks.pixels) <= num_classes


def _instances(masks: MaskStatistics, config: ConfigDict, data: ConfigDict | None) -> list[Finding]:
    text = (
        f"the masks seem to number objects: each value is one region, and masks have "
        f"{min(masks.regions)} to {max(masks.regions)} of them"
    )
    if data is not None and data.labels.encoding == "instances":
        return [Finding(NOTE, KIND, text)]
    overrides = encoding_overrides(config, encoding="instances", mask_values=(), ignore_values=())
    return [Finding(WARNING if data is not None else ERROR, KIND, text, overrides)]


def _ids(masks: MaskStatistics, config: ConfigDict, data: ConfigDict | None) -> list[Finding]:
    """Check masks that store an integer for each class."""
    values = sorted(masks.pixels)
    content = f"{'palette masks' if masks.kinds['palette'] else 'masks'} hold {join_values(values)}"
    if values[0] < 0:
        return [_negative_values(masks, values, config)]
    if len(values) < 2:
        text = f"the masks hold {values[0]} alone: one class, and nothing to tell it from"
        return [Finding(ERROR, KIND, text)]
    proposal = propose_encoding(values, len(given_names(config)), config.data.ignore_label)
    overrides = ()
    if proposal:
        overrides = encoding_overrides(config, mask_values=proposal[0], ignore_values=proposal[1])
    meaning = describe_proposal(proposal)
    if data is None:
        text = f"{content}, whose classes the config does not declare{meaning}"
        return [Finding(ERROR, KIND, text, overrides)]
    classes = [stored_values(entry) for entry in data.labels.mask_values]
    outside = [value for value in values if value not in known_values(data)]
    present = [any(value in masks.pixels for value in entry) for entry in classes]
    if outside:
        return [_outside(masks, config, outside, present)]
    num_present = sum(present)
    if proposal and num_present < 2 and len(proposal[0]) > 1:
        text = f"{content}, but the config makes only {num_present} of them a class and ignores "
        return [Finding(ERROR, KIND, f"{text}the rest{meaning}", overrides)]
    if masks.mixes_white and classes == [(0,), (1,)]:
        text = (
            f"{masks.masks_with[1]} masks hold 1 and {masks.masks_with[255]} others 255, none "
            "both, as if masks of 0 and 1 were among those of black and white; 255 is ignored, "
            "and one class with 1 below"
        )
        overrides = encoding_overrides(config, mask_values=(0, (1, 255)))
        return [Finding(WARNING, KIND, text, overrides)]
    fits = proposal and set(proposal[0]) <= set(values) and len(proposal[0]) < len(classes)
    is_shifted = values[0] > 0 and classes[0] == (0,)
    if fits and (is_shifted or num_present < len(classes) / 2):
        text = f"{content}, which are only {num_present} of the {len(classes)} classes{meaning}"
        return [Finding(WARNING, KIND, text, overrides)]
    if data.labels.label_map or config.data.labels.label_map:
        return [Finding(NOTE, KIND, content)]
    mask_values = tuple(entry[0] if len(entry) == 1 else entry for entry in classes)
    overrides = encoding_overrides(config, mask_values=mask_values)
    return [Finding(NOTE, KIND, f"{content}: {len(classes)} classes", overrides)]


def _channels(dataset: DatasetSummary) -> list[Finding]:
    """Check masks with a channel for each class: pixels that are in none of them."""
    masks, resolved = dataset.masks, dataset.resolved
    if len(masks.channels) > 1:
        counts = join_values(sorted(masks.channels))
        return [Finding(ERROR, KIND, f"the masks differ in their number of channels: {counts}")]
    (count,) = masks.channels
    share = masks.pixels[count] / max(masks.pixels.total(), 1)
    if not share:
        return []
    text = f"{share:.2%} of the pixels are in none of the {count} channels"
    if resolved is None:
        text += "; as a class of their own, the background, below; or ignore them by "
        text += f"config.data.labels.ignore_values={count}"
        classes = (count, *range(count))
        overrides = encoding_overrides(dataset.config, encoding="onehot", mask_values=classes)
        return [Finding(ERROR, NO_CHANNEL, text, overrides)]
    if count in resolved.data.labels.ignore_values:
        severity = WARNING if share >= MAX_UNSET_SHARE else NOTE
        text += ", and ignored; a model is free to give such pixels any class"
        return [Finding(severity, NO_CHANNEL, text)]
    return [Finding(NOTE, NO_CHANNEL, f"{text}: a class of their own")]


def _negative_values(masks: MaskStatistics, values: Sequence[int], config: ConfigDict) -> Finding:
    negative = [value for value in values if value < 0]
    text = (
        f"{max(masks.masks_with[value] for value in negative)} of {masks.files} masks hold "
        f"{join_values(negative)}, which is no class; ignored below"
    )
    ignored = config.data.labels.ignore_values
    severity = NOTE if {*negative} <= {*ignored} else ERROR
    overrides = encoding_overrides(
        config, ignore_values=tuple(dict.fromkeys((*ignored, *negative)))
    )
    return Finding(severity, OUTSIDE, text, overrides)


def _outside(
    masks: MaskStatistics, config: ConfigDict, outside: Sequence[int], present: Sequence[bool]
) -> Finding:
    """Report values that are no class; `present` has True for each class that masks have."""
    values = sorted(masks.pixels)
    share = sum(masks.pixels[value] for value in outside) / masks.pixels.total()
    files = max(masks.masks_with[value] for value in outside)
    text = f"{files} of {masks.files} masks hold {join_values(outside)}, which is no class"
    # With other classes present, 255 or 65535 usually means no class. If the user declared the
    # values of all classes and all occur, other values are not classes either, unless the values
    # count from 1.
    is_stray = len(outside) == 1 and outside[0] in STRAYS and sum(present) > 1
    labels = config.data.labels
    is_declared = labels.mask_values and all(present) and values[-1] != len(present)
    num_names = len(given_names(config)) or len(labels.mask_values)
    proposal = propose_encoding(values, num_names, config.data.ignore_label)
    if proposal and not is_stray and not is_declared:
        overrides = encoding_overrides(config, mask_values=proposal[0], ignore_values=proposal[1])
        return Finding(ERROR, OUTSIDE, text + describe_proposal(proposal), overrides)
    overrides = encoding_overrides(config, ignore_values=(*labels.ignore_values, *outside))
    text += f" ({share:.2%} of the pixels); ignored below"
    return Finding(ERROR, OUTSIDE, text, overrides)


def check_colours(
    masks: MaskStatistics, config: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    """Compare the colours of RGB masks with those of the config."""
    colours = set().union(*masks.palettes.values())
    if not colours:
        colours = {v if isinstance(v, tuple) else (v, v, v) for v in masks.pixels}
    text = f"the masks hold {len(colours)} colours"
    if masks.has_unique_values:
        text += (
            ", most of them in one mask only, like random colours of objects; write objects as "
            "numbers, for config.data.labels.encoding=instances"
        )
        return [Finding(WARNING, KIND, text)]
    return _compare_colours(colours, text, config, data)


def palettes_differ(masks: MaskStatistics) -> bool:
    """Return whether a palette index stands for several classes, which differ in colour.

    More colours than indices are random colours, which mean nothing.
    """
    differ = any(len(colours) > 1 for colours in masks.palettes.values())
    return differ and len(set().union(*masks.palettes.values())) <= len(masks.palettes)


def check_palettes(
    masks: MaskStatistics, config: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    """Report palette masks whose palettes differ, so that colours and not indices are classes."""
    index, colours = next(item for item in masks.palettes.items() if len(item[1]) > 1)
    text = (
        f"the palettes of the masks differ (index {index} is {join_names(sorted(colours))}), so "
        "that the colour and not the index tells the class"
    )
    return _compare_colours(set().union(*masks.palettes.values()), text, config, data)


def _compare_colours(
    mask_colours: Iterable[RGB], text: str, config: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    colours = tuple(sorted(mask_colours))
    is_rgb = data is not None and data.labels.encoding == "rgb"
    declared = tuple(map(tuple, data.labels.mask_colours)) if is_rgb else ()
    undeclared = [colour for colour in colours if colour not in declared]
    if not undeclared:
        overrides = encoding_overrides(config, encoding="rgb", mask_colours=declared)
        return [Finding(NOTE, KIND, f"{text}, a class each", overrides)]
    if len(colours) > MAX_MASK_VALUES:
        return [Finding(ERROR, KIND, f"{text}: too many to be classes")]
    num_names, values = len(given_names(config)), {"mask_values": (), "ignore_values": ()}
    names: tuple[str, ...] = ()
    if num_names and len(set(declared)) == num_names:
        values = {
            "mask_values": tuple(range(num_names)),
            "ignore_values": tuple(range(num_names, num_names + len(undeclared))),
        }
        text += "; colours that are none of the named classes are ignored below"
    elif num_names and len(colours) == num_names + 1 and colours[0] == (0, 0, 0):
        values = {"mask_values": tuple(range(1, num_names + 1)), "ignore_values": (0,)}
        text += "; that is one more than there are names, so black is ignored below"
    elif num_names and len(colours) != num_names:
        text += f", and config.data.class_names has {num_names} names"
        return [Finding(ERROR, KIND, text)]
    if declared:
        text += f"; config.data.labels.mask_colours lacks {join_names(undeclared)}, appended below"
        colours = (*declared, *undeclared)
    elif num_names:
        text += "; config.data.labels.mask_colours must list them in the order of the names: "
        return [Finding(ERROR, KIND, text + ", ".join(map(str, colours)))]
    else:
        text += "; below in ascending order, with names to replace by those of your classes"
        names = make_overrides(config, {"data.class_names": propose_names(colours)})
    overrides = encoding_overrides(config, encoding="rgb", mask_colours=colours, **values)
    return [Finding(ERROR, KIND, text, names + overrides)]
