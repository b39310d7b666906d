"""Proposes which classes stored values are."""

from collections.abc import Sequence

from fcnjax.data.labels.classes import MAX_MASK_VALUES

STRAYS = (255, 65535)  # what most sets store where there is no class, in 8 bits and in 16


def propose(
    values: Sequence[int], names: int, ignore: int
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The stored values in class order, and those to ignore, for the values that masks hold.

    Args:
        values: Those found, in order.
        names: How many classes there are; 0 where nobody said.
        ignore: The ignore label, which needs no mention.

    Returns:
        `mask_values` and `ignore_values`; None where no reading is plausible.
    """
    values = tuple(values)
    if len(values) == 2 and values[0] == 0 and names in (0, 2):
        return values, ()
    if names == 2 and len(values) == 3 and is_ramp(values):
        return (0, 255), values[1:2]
    classes = tuple(value for value in values if value != ignore)
    if names in (0, len(values)) and is_ramp(values):
        return values, ()
    strays = tuple(value for value in classes if value in STRAYS) if len(classes) > 2 else ()
    classes = tuple(value for value in classes if value not in strays)
    if len(classes) < 2 or classes[0] < 0 or (len(classes) > MAX_MASK_VALUES and not names):
        return None
    if not names:
        if is_far(classes):
            classes, strays = classes[:-1], classes[-1:] + strays
        return classes, strays
    if classes[-1] == names:
        zero = (0,) if classes[0] == 0 else ()
        return tuple(range(1, names + 1)), zero + strays
    if classes[-1] < names:
        return tuple(range(names)), strays
    return (classes, strays) if len(classes) == names else None


def is_ramp(values: Sequence[int]) -> bool:
    """Whether the values are grey levels from black to white in even steps, as 0, 128 and 255."""
    steps = len(values) - 1
    even = [255 * place / steps for place in range(steps + 1)] if steps else []
    return 2 <= steps <= 16 and all(abs(a - b) <= 1 for a, b in zip(values, even, strict=True))


def is_far(values: Sequence[int]) -> bool:
    """Whether the last value is far above others that count from 0, as 0, 1, 2 and 254."""
    last = len(values) - 1
    return last > 1 and tuple(values[:-1]) == tuple(range(last)) and values[-1] >= MAX_MASK_VALUES


def how(better: tuple[tuple[int, ...], tuple[int, ...]] | None, values: Sequence[int]) -> str:
    """What the proposed values mean, in words."""
    if better is None:
        return "; declare config.data.mask_values, in class order"
    classes, ignored = better
    if classes == (0, 255):
        grey = f", and the grey {ignored[0]} is what is ignored" if ignored else ""
        return f"; the two are two classes, stored as black and white{grey}"
    if classes == tuple(range(1, len(classes) + 1)):
        return "; they count from 1" + (", and 0 is what is ignored" if 0 in ignored else "")
    if is_ramp(classes):
        return "; the values are the classes, as grey levels from black to white"
    if ignored and is_far((*classes, ignored[0])) and ignored[0] not in STRAYS:
        return f"; {ignored[0]} is far from the others, as what is ignored is, and ignored below"
    if len(classes) <= classes[-1]:
        return "; the values are the classes, with gaps between them"
    return ""
