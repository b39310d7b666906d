"""Proposals of how the values in masks stand for classes."""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from fcnjax.data.labels.class_names import BACKGROUND, are_default_names
from fcnjax.data.labels.classes import MAX_MASK_VALUES
from fcnjax.data.labels.masks import stored_values
from fcnjax.io.pictures import describe_colour
from fcnjax.validate.findings import make_overrides

KIND = "encoding"  # of the findings on encodings
STRAYS = (255, 65535)  # values that most datasets store for no class, in 8 and in 16 bits

Proposal = tuple[tuple[int, ...], tuple[int, ...]]


def propose_encoding(values: Sequence[int], num_names: int, ignore_label: int) -> Proposal | None:
    """Propose the stored values in class order, and those to ignore.

    Args:
        values: The values in masks, ascending.
        num_names: Number of class names; 0 if the user gave none.
        ignore_label: The ignore label, which need not be listed.

    Returns:
        `mask_values` and `ignore_values`; None if no reading is plausible.
    """
    values = tuple(values)
    if len(values) == 2 and values[0] == 0 and num_names in (0, 2):
        return values, ()
    if num_names == 2 and len(values) == 3 and is_ramp(values):
        return (0, 255), values[1:2]
    classes = tuple(value for value in values if value != ignore_label)
    if num_names in (0, len(values)) and is_ramp(values):
        return values, ()
    strays = tuple(value for value in classes if value in STRAYS) if len(classes) > 2 else ()
    classes = tuple(value for value in classes if value not in strays)
    if len(classes) < 2 or classes[0] < 0 or (len(classes) > MAX_MASK_VALUES and not num_names):
        return None
    if not num_names:
        if is_far(classes):
            classes, strays = classes[:-1], classes[-1:] + strays
        return classes, strays
    if classes[-1] == num_names:
        zero = (0,) if classes[0] == 0 else ()
        return tuple(range(1, num_names + 1)), zero + strays
    if classes[-1] < num_names:
        return tuple(range(num_names)), strays
    return (classes, strays) if len(classes) == num_names else None


def is_ramp(values: Sequence[int]) -> bool:
    """Return whether values are grey levels in even steps from black to white: 0, 128, 255."""
    steps = len(values) - 1
    even = [255 * index / steps for index in range(steps + 1)] if steps else []
    return 2 <= steps <= 16 and all(abs(a - b) <= 1 for a, b in zip(values, even, strict=True))


def is_far(values: Sequence[int]) -> bool:
    """Return whether the last value is far above others that count from 0: 0, 1, 2, 254."""
    last = len(values) - 1
    return last > 1 and tuple(values[:-1]) == tuple(range(last)) and values[-1] >= MAX_MASK_VALUES


def describe_proposal(proposal: Proposal | None) -> str:
    """Say in words what the proposed values mean."""
    if proposal is None:
        return "; declare config.data.labels.mask_values, in class order"
    classes, ignored = proposal
    if classes == (0, 255):
        grey = f", and the grey {ignored[0]} is ignored" if ignored else ""
        return f"; the two are two classes, stored as black and white{grey}"
    if classes == tuple(range(1, len(classes) + 1)):
        return "; they count from 1" + (", and 0 is ignored" if 0 in ignored else "")
    if is_ramp(classes):
        return "; the values are the classes, as grey levels from black to white"
    if ignored and is_far((*classes, ignored[0])) and ignored[0] not in STRAYS:
        return (
            f"; {ignored[0]} is far from the others, like a value for no class, and ignored below"
        )
    if len(classes) <= classes[-1]:
        return "; the values are the classes, with gaps between them"
    return ""


def propose_names(colours: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Propose a name for each colour: `background` for black, or its name, such as `dark green`.

    Colours of the same name are numbered.
    """
    texts = [describe_colour(colour) for colour in colours]
    names = []
    for i, text in enumerate(texts):
        number = f" {texts[:i].count(text) + 1}" if texts.count(text) > 1 else ""
        names.append(BACKGROUND if tuple(colours[i]) == (0, 0, 0) else f"{text}{number}")
    return tuple(names)


def given_names(config: ConfigDict) -> tuple[str, ...]:
    """Return the class names that the user gave, without those that `resolve` makes up."""
    names = tuple(config.data.class_names)
    return () if are_default_names(names) else names


def known_values(data: ConfigDict) -> set[int]:
    """Return the stored values that a class or the ignore label is made of."""
    classes = (value for entry in data.labels.mask_values for value in stored_values(entry))
    return {*classes, *data.labels.ignore_values, data.ignore_label}


def encoding_overrides(config: ConfigDict, **values: object) -> tuple[str, ...]:
    """Return overrides for `config.data`, with `encoding=ids` if another one was declared."""
    changes: Mapping[str, object] = values
    if "encoding" not in values and config.data.labels.encoding not in (None, "ids"):
        changes = {"encoding": "ids", **values}
    return make_overrides(config, {f"data.labels.{key}": value for key, value in changes.items()})
