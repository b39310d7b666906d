"""The bands of a file that the names of `config.data.channels` mean: the first rule that applies.

1. Each name is the description of a band in the file (capitals do not matter).
2. The names are `R,G,B` or `L`, and bands are marked as red, green and blue, or the one that is no
   alpha as grey.
3. Each name is the number of a band, from 1 on.
4. The file has as many bands as there are names, and describes none by one of them: in order.

A band that is marked as alpha is a band like the others.
"""

from collections.abc import Iterable, Sequence

from fcnjax.errors import UserError

_COLOURS = {"R": "red", "G": "green", "B": "blue"}
_NOT_IN_ORDER = ("palette", "cyan")  # values that are not the intensity of a band


def find_bands(
    file: object, names: Sequence[str], descriptions: Sequence[str], marks: Sequence[str]
) -> list[int]:
    """The places, from 0, of the bands that are meant.

    Args:
        file: What the error names.
        names: The bands.
        descriptions: Of each band of the file; "" or None for none.
        marks: The meaning of each, as `StoredPixels` has it.

    Raises:
        UserError: A name means no band; lists the bands.
    """
    places = bands_if_any(names, descriptions, marks)
    if places is not None:
        return places
    known = _numbered(descriptions)
    missing = next((name for name in names if name.lower() not in known), names[0])
    what = ", ".join(
        f"{number} ({text})" if text else str(number)
        for number, text in enumerate(descriptions, start=1)
    )
    numbers = ",".join(map(str, range(1, min(len(marks), len(names)) + 1)))
    hint = "" if len(names) > len(marks) else f"; name them so: config.data.channels={numbers}"
    raise UserError(
        f"{file}: has no band {missing!r}, by config.data.channels; its bands: {what}{hint}"
    )


def bands_if_any(
    names: Sequence[str], descriptions: Sequence[str], marks: Sequence[str]
) -> list[int] | None:
    """The places of the bands, as `find_bands`; None where the names mean none."""
    described = _numbered(descriptions)
    found = [described.get(name.lower()) for name in names]
    if None not in found:
        return found
    if any(place is not None for place in found):
        return None
    if all(name in _COLOURS for name in names):
        marked = _numbered(marks)
        colours = [marked.get(_COLOURS[name]) for name in names]
        if None not in colours:
            return colours
    if tuple(names) == ("L",) and (grey := grey_of(marks)) is not None:
        return [grey]
    count = len(marks)
    if all(name.isdecimal() for name in names):
        inside = all(1 <= int(name) <= count for name in names)
        return [int(name) - 1 for name in names] if inside else None
    in_order = len(names) == count and not any(mark in _NOT_IN_ORDER for mark in marks)
    return list(range(count)) if in_order else None


def grey_of(marks: Sequence[str]) -> int | None:
    """The place of the grey band, where all others are alpha; None where there is none."""
    others = [mark for mark in marks if mark != "alpha"]
    return marks.index("gray") if others == ["gray"] else None


def _numbered(texts: Iterable[str | None]) -> dict[str, int]:
    """The place of each text in small letters; the first of several alike."""
    places: dict[str, int] = {}
    for place, text in enumerate(texts):
        if text:
            places.setdefault(text.lower(), place)
    return places
