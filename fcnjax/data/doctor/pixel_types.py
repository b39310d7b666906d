"""Finds images of other pixel types than the rest of a set."""

from collections.abc import Sequence

from fcnjax.data.doctor.examples import Look
from fcnjax.data.doctor.findings import ERROR, WARNING, Finding, some
from fcnjax.data.pixel_type import PIXEL_TYPES


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
