"""Matching of the names in `config.data.channels` to the bands of a file.

The first rule that applies decides:

1. Each name is the description of a band in the file (case is ignored).
2. The names are `R,G,B` or `L`, and the file marks bands as red, green and blue, or its only band
   that is not alpha as grey.
3. Each name is the number of a band, from 1.
4. The file has as many bands as there are names, and no description matches: in order.

An alpha band is a band like the others.
"""

from collections.abc import Iterable, Sequence

from fcnjax.data.readers.stored_pixels import CMYK
from fcnjax.errors import UserError

RGB_NAMES, GREY_NAMES = ("R", "G", "B"), ("L",)
_COLOURS = {"R": "red", "G": "green", "B": "blue"}
_NOT_IN_ORDER = ("palette", "cyan")  # values that are not the intensity of a band


def choose_bands(
    file: object, names: Sequence[str], descriptions: Sequence[str], colorinterp: Sequence[str]
) -> list[int]:
    """Return the indices of the bands from which the channels of an image are made.

    RGB can also be made of one grey or palette band or of the four of CMYK, and L of three bands.

    Args:
        file: The file, for the error.
        names: Names of the channels.
        descriptions: Description of each band of the file; "" or None for none.
        colorinterp: The meaning of each band, as in `StoredPixels`.

    Raises:
        UserError: A name matches no band; lists the bands.
    """
    names, colorinterp = tuple(names), tuple(colorinterp)
    is_cmyk = colorinterp[:4] == CMYK
    if is_cmyk and names not in (RGB_NAMES, GREY_NAMES):
        raise UserError(f"{file}: is CMYK, and has no bands by name; valid: RGB or L")
    if (indices := _match(names, descriptions, colorinterp)) is not None:
        return indices
    if names in (RGB_NAMES, GREY_NAMES):
        if colorinterp == ("palette",):
            return [0]
        if is_cmyk:
            return [0, 1, 2, 3]
        if names == RGB_NAMES and (grey := _grey_band(colorinterp)) is not None:
            return [grey]
        colours = _match(RGB_NAMES, ("",) * len(colorinterp), colorinterp)
        if names == GREY_NAMES and colours is not None:
            return colours
    raise _no_band(file, names, descriptions)


def _no_band(file: object, names: Sequence[str], descriptions: Sequence[str]) -> UserError:
    described = _index_by_text(descriptions)
    missing = next((name for name in names if name.lower() not in described), names[0])
    bands = ", ".join(
        f"{number} ({text})" if text else str(number)
        for number, text in enumerate(descriptions, start=1)
    )
    numbers = ",".join(map(str, range(1, min(len(descriptions), len(names)) + 1)))
    hint = f"; name them so: config.data.channels={numbers}"
    return UserError(
        f"{file}: has no band {missing!r}, by config.data.channels; its bands: {bands}"
        f"{hint if len(names) <= len(descriptions) else ''}"
    )


def _match(
    names: Sequence[str], descriptions: Sequence[str], colorinterp: Sequence[str]
) -> list[int] | None:
    """Return the indices of the named bands; None if a name matches no band."""
    described = _index_by_text(descriptions)
    matches = [described.get(name.lower()) for name in names]
    if None not in matches:
        return matches
    if any(index is not None for index in matches):
        return None
    if all(name in _COLOURS for name in names):
        colours = _index_by_text(colorinterp)
        matches = [colours.get(_COLOURS[name]) for name in names]
        if None not in matches:
            return matches
    if tuple(names) == GREY_NAMES and (grey := _grey_band(colorinterp)) is not None:
        return [grey]
    count = len(colorinterp)
    if all(name.isdecimal() for name in names):
        inside = all(1 <= int(name) <= count for name in names)
        return [int(name) - 1 for name in names] if inside else None
    in_order = len(names) == count and not any(role in _NOT_IN_ORDER for role in colorinterp)
    return list(range(count)) if in_order else None


def _grey_band(colorinterp: Sequence[str]) -> int | None:
    """Return the index of the grey band if all others are alpha, else None."""
    others = [role for role in colorinterp if role != "alpha"]
    return colorinterp.index("gray") if others == ["gray"] else None


def _index_by_text(texts: Iterable[str | None]) -> dict[str, int]:
    """Return the index of each text in lower case; of the first of equal ones."""
    indices: dict[str, int] = {}
    for index, text in enumerate(texts):
        if text:
            indices.setdefault(text.lower(), index)
    return indices
