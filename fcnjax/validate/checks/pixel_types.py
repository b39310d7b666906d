"""Checks for several pixel types in a dataset, and for pixels that augmentation would clip."""

from fcnjax.data.pixel_type import PIXEL_TYPES as VALID_TYPES
from fcnjax.validate.dataset import DatasetSummary
from fcnjax.validate.findings import ERROR, WARNING, Finding, abbreviate, make_overrides

PIXEL_TYPES = "pixel types"
# Keys of `config.augment` that keep pixels within 0..1.
CLIPPING_KEYS = ("brightness", "contrast", "saturation", "gamma", "noise")


def check_pixel_types(dataset: DatasetSummary) -> list[Finding]:
    """Report images of several pixel types.

    With `config.data.pixel_type` given, images of other types are converted as requested, or are
    reported as faults.
    """
    names: dict[str, list[str]] = {}
    for example in dataset.examples:
        if example.pixel_type:
            names.setdefault(example.pixel_type, []).append(example.name)
    if len(names) < 2:
        return []
    usual, *others = sorted(names, key=lambda each: -len(names[each]))
    counts = "; ".join(f"{len(names[t])} are {t}: {abbreviate(names[t])}" for t in others)
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
