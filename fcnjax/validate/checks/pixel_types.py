"""Finds images of other pixel types than the rest of a set, and pixels that would be clipped."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from fcnjax.data.pixel_type import PIXEL_TYPES
from fcnjax.validate.examples import Look
from fcnjax.validate.findings import ERROR, WARNING, Finding, override_words, some

# Keys of `config.augment` that keep pixels within 0..1.
CLIPPING = ("brightness", "contrast", "saturation", "gamma", "noise")


def several_types(looks: Sequence[Look], pixel_type: str | None) -> list[Finding]:
    """The finding on images of several pixel types; none where all have one.

    Args:
        looks: Those of both splits.
        pixel_type: `config.data.pixel_type` as the user gave it: where it is there, images of
            another type are converted as was wanted, or are faults of their own.
    """
    names: dict[str, list[str]] = {}
    for look in looks:
        if look.pixel_type:
            names.setdefault(look.pixel_type, []).append(look.name)
    if len(names) < 2:
        return []
    usual, *others = sorted(names, key=lambda each: -len(names[each]))
    words = "; ".join(f"{len(names[each])} are {each}: {some(names[each])}" for each in others)
    text = f"the pixels of {len(names[usual])} images are {usual}, of {words}"
    if pixel_type is not None:
        return [Finding(WARNING, "pixel types", f"{text}; all are taken by value as {pixel_type}")]
    text += (
        "; store them alike, or give config.data.pixel_type "
        f"({', '.join(PIXEL_TYPES)}), as which all are then taken by value"
    )
    return [Finding(ERROR, "pixel types", text)]


def clipped_pixels(looks: Sequence[Look], asked: ConfigDict) -> list[Finding]:
    """The finding on pixels outside 0..1 that the augmentation would clip; none without either.

    Args:
        looks: Those of both splits.
        asked: The config as the user gave it.
    """
    keys = [f"augment.{key}" for key in CLIPPING if asked.augment[key]]
    outside = [look.name for look in looks if look.part == "train" and not look.is_unit]
    if not keys or not outside:
        return []
    text = (
        f"{len(outside)} images of train have float pixels outside 0..1, as {outside[0]}, which "
        f"config.{', config.'.join(keys)} would clip to 0..1; whole values from 0 on are scaled by "
        "config.data.pixel_type=uint16"
    )
    words = override_words(asked, dict.fromkeys(keys, 0.0))
    return [Finding(ERROR, "clipped pixels", text, words)]
