"""Tells how masks are encoded, and which lines of a config say so."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ml_collections import ConfigDict

from fcnjax.data.classes import MOST_IN_MASK, find_classes, listed
from fcnjax.data.doctor.findings import (
    ERROR,
    NOTE,
    WARNING,
    Finding,
    override_words,
    some,
)
from fcnjax.data.doctor.stored import PEAK, RGB, StoredTally
from fcnjax.data.masks import values_of
from fcnjax.errors import UserError

STRAY = 255  # what most sets store where there is no class
NEAR = 48  # grey levels around a peak, in which what JPEG makes of it lies
KIND = "encoding"


def diagnose(stored: StoredTally, asked: ConfigDict, resolved: ConfigDict | None) -> list[Finding]:
    """Compares what masks store with what a config says of them.

    Args:
        stored: The masks.
        asked: The config as the user gave it.
        resolved: As `resolve` returned it; None where it failed.

    Returns:
        Findings, with the lines that mend an encoding that is wrong.
    """
    findings = _blended(stored, asked, resolved) + _mixed(stored)
    if not stored.sound or stored.kinds["onehot"]:
        return findings
    data = resolved.data if resolved else _found_in(stored, asked)
    if stored.kinds["rgb"]:
        return findings + _colours(stored, asked, data)
    if _palettes_differ(stored):
        return findings + _by_palette_colour(stored, asked, data)
    if stored.numbers_objects:
        return findings + _instances(stored, asked, data)
    if data is not None and data.encoding == "rgb":
        return findings + _colours(stored, asked, data)
    if data is not None and data.encoding not in (None, "ids"):
        return findings
    return findings + _values(stored, asked, data)


def _found_in(stored: StoredTally, asked: ConfigDict) -> ConfigDict | None:
    """`config.data` with the classes of the sound masks; None where they cannot be told."""
    data = asked.copy_and_resolve_references().data
    try:
        find_classes(data, stored.sound)
    except UserError:
        return None
    return data if len(data.class_names) == len(data.mask_values) else None


def _blended(stored: StoredTally, asked: ConfigDict, resolved: ConfigDict | None) -> list[Finding]:
    if stored.blended:
        text = (
            f"{len(stored.blended)} of {stored.files} masks hold many values in a few scattered "
            "pixels each, as a mask does that was resized with interpolation or saved as JPEG: "
            f"{some(stored.blended)}; write them again from the originals, as PNG, resized by "
            "nearest neighbour"
        )
        usable = resolved is not None and stored.blended_pixels.keys() <= _known(resolved.data)
        words = () if usable else _halves(stored, asked)
        if words:
            text += "; until then this line takes the nearer of their two values"
        return [Finding(WARNING if usable else ERROR, "blended masks", text, words)]
    if stored.lossy:
        text = (
            f"{len(stored.lossy)} masks are JPEG files, which change values along borders: "
            f"{some(stored.lossy)}; PNG keeps them"
        )
        return [Finding(WARNING, "JPEG masks", text)]
    return []


def _known(data: ConfigDict) -> set[int]:
    """The stored values that a class or the ignore label is made of."""
    classes = (value for entry in data.mask_values for value in values_of(entry))
    return {*classes, *data.ignore_values, data.ignore_label}


def _halves(stored: StoredTally, asked: ConfigDict) -> tuple[str, ...]:
    """Each grey level as the nearer of two, where all but a few pixels are near one of two."""
    pixels = stored.blended_pixels + stored.pixels
    if not all(isinstance(value, int) and value < 256 for value in pixels):
        return ()
    low, high = min(pixels), max(pixels)
    between = [n for value, n in pixels.items() if low + NEAR <= value <= high - NEAR]
    # A value that many pixels have is a class of its own.
    third = sum(between) > 0.2 * pixels.total() or max(between, default=0) > PEAK * pixels.total()
    if high - low < 2 * NEAR or third or len(_own_names(asked)) not in (0, 2):
        return ()
    middle = (low + high) // 2
    halves = (tuple(range(middle + 1)), tuple(range(middle + 1, 256)))
    return _words(asked, mask_values=halves)


def _mixed(stored: StoredTally) -> list[Finding]:
    # An empty mask of an RGB set is grey; that is no other kind.
    if len(stored.kinds) < 2 or not stored.kinds.keys() & {"palette", "onehot"}:
        return []
    kinds = ", ".join(f"{n} {kind} (as {stored.first[kind]})" for kind, n in stored.kinds.items())
    return [Finding(WARNING, "mixed masks", f"the masks are of several kinds: {kinds}")]


def _colours(stored: StoredTally, asked: ConfigDict, data: ConfigDict | None) -> list[Finding]:
    found = set().union(*stored.palettes.values())
    if not found:
        found = {v if isinstance(v, tuple) else (v, v, v) for v in stored.pixels}
    text = f"the masks hold {len(found)} colours"
    return _coded_by_colour(found, text, asked, data)


def _coded_by_colour(
    found: Iterable[RGB], text: str, asked: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    """Findings on masks whose classes are told by colour."""
    colours = tuple(sorted(found))
    rgb = data is not None and data.encoding == "rgb"
    known = set(map(tuple, data.mask_colours)) if rgb else set()
    unknown = [colour for colour in colours if colour not in known]
    if not unknown:
        words = _words(asked, encoding="rgb", mask_colours=tuple(map(tuple, data.mask_colours)))
        return [Finding(NOTE, KIND, f"{text}, a class each", words)]
    if len(colours) > MOST_IN_MASK:
        return [Finding(ERROR, KIND, f"{text}: too many to be classes")]
    names, wanted = len(_own_names(asked)), {"mask_values": (), "ignore_values": ()}
    if names and len(known) == names:
        wanted = {
            "mask_values": tuple(range(names)),
            "ignore_values": tuple(range(names, names + len(unknown))),
        }
        text += "; what is none of the named classes is ignored below"
    elif names and len(colours) == names + 1 and colours[0] == (0, 0, 0):
        wanted = {"mask_values": tuple(range(1, names + 1)), "ignore_values": (0,)}
        text += "; black is one more than there are names, and ignored below"
    elif names and len(colours) != names:
        return [Finding(ERROR, KIND, f"{text}, and config.data.class_names has {names} names")]
    if known:
        text += f"; config.data.mask_colours lacks {some(unknown)}, which are put at its end below"
        colours = (*map(tuple, data.mask_colours), *unknown)
    else:
        text += "; the config says else. Below in rising order: put them in that of your classes"
    words = _words(asked, encoding="rgb", mask_colours=colours, **wanted)
    return [Finding(ERROR, KIND, text, words)]


def _palettes_differ(stored: StoredTally) -> bool:
    """Whether an index is now this class and now that, by its colour.

    More colours than indices are colours drawn at random, which tell of nothing.
    """
    differ = any(len(colours) > 1 for colours in stored.palettes.values())
    return differ and len(set().union(*stored.palettes.values())) <= len(stored.palettes)


def _by_palette_colour(
    stored: StoredTally, asked: ConfigDict, data: ConfigDict | None
) -> list[Finding]:
    index = next(i for i, colours in stored.palettes.items() if len(colours) > 1)
    text = (
        f"the palettes of the masks differ (index {index} is {some(sorted(stored.palettes[index]))}"
        "), so that a class is told by its colour and not by its index"
    )
    return _coded_by_colour(set().union(*stored.palettes.values()), text, asked, data)


def _instances(stored: StoredTally, asked: ConfigDict, data: ConfigDict | None) -> list[Finding]:
    text = (
        f"the masks seem to number objects: each value is one region, and masks have "
        f"{min(stored.objects)} to {max(stored.objects)} of them"
    )
    if data is not None and data.encoding == "instances":
        return [Finding(NOTE, KIND, text)]
    words = _words(asked, encoding="instances", mask_values=(), ignore_values=())
    return [Finding(WARNING if data is not None else ERROR, KIND, text, words)]


def _values(stored: StoredTally, asked: ConfigDict, data: ConfigDict | None) -> list[Finding]:
    """Findings on masks that store a whole number for each class."""
    values = sorted(stored.pixels)
    what = f"{'palette masks' if stored.kinds['palette'] else 'masks'} hold {listed(values)}"
    better = propose(values, len(_own_names(asked)), asked.data.ignore_label)
    words = _words(asked, mask_values=better[0], ignore_values=better[1]) if better else ()
    if data is None:
        text = f"{what}, which the config does not tell the classes of"
        return [Finding(ERROR, KIND, text + _how(better, values), words)]
    classes = [values_of(entry) for entry in data.mask_values]
    outside = [value for value in values if value not in _known(data)]
    seen = [entry for entry in classes if any(value in stored.pixels for value in entry)]
    if outside:
        return [_outside(stored, asked, outside, classes, seen)]
    if better and len(seen) < 2 and len(better[0]) > 1:
        text = f"{what}, and by the config only {len(seen)} of them is a class, the rest is ignored"
        return [Finding(ERROR, KIND, text + _how(better, values), words)]
    fits = better and set(better[0]) <= set(values) and len(better[0]) < len(classes)
    shifted = values[0] > 0 and classes[0] == (0,)
    if fits and (shifted or len(seen) < len(classes) / 2):
        text = f"{what}, and of the {len(classes)} classes only {len(seen)} are seen"
        return [Finding(WARNING, KIND, text + _how(better, values), words)]
    pinned = tuple(entry[0] if len(entry) == 1 else entry for entry in classes)
    if data.label_map or asked.data.label_map:
        return [Finding(NOTE, KIND, what)]
    return [
        Finding(NOTE, KIND, f"{what}: {len(classes)} classes", _words(asked, mask_values=pinned))
    ]


def _outside(
    stored: StoredTally,
    asked: ConfigDict,
    outside: Sequence[int],
    classes: Sequence[tuple[int, ...]],
    seen: Sequence[tuple[int, ...]],
) -> Finding:
    """Values that are no class; `seen` are the classes of which masks have values."""
    kind, values = "values outside the classes", sorted(stored.pixels)
    share = sum(stored.pixels[value] for value in outside) / stored.pixels.total()
    masks = max(stored.masks_with[value] for value in outside)
    text = f"{masks} of {stored.files} masks hold {listed(outside)}, which is no class"
    # Beside classes that are seen, 255 stands for no class, as in most sets; and who declared the
    # values of all classes, and has them, has some more, unless they count from 1.
    stray = outside == [STRAY] and len(seen) > 1
    declared = asked.data.mask_values and len(seen) == len(classes) and values[-1] != len(classes)
    names = len(_own_names(asked)) or len(asked.data.mask_values)
    better = propose(values, names, asked.data.ignore_label)
    if better and not stray and not declared:
        words = _words(asked, mask_values=better[0], ignore_values=better[1])
        return Finding(ERROR, kind, text + _how(better, values), words)
    words = _words(asked, ignore_values=(*asked.data.ignore_values, *outside))
    return Finding(ERROR, kind, f"{text} ({share:.2%} of the pixels); ignored below", words)


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
    classes = tuple(value for value in values if value != ignore)
    strays = tuple(value for value in classes if value == STRAY) if len(classes) > 2 else ()
    classes = tuple(value for value in classes if value not in strays)
    if len(classes) < 2 or len(classes) > MOST_IN_MASK or classes[0] < 0:
        return None
    if not names:
        return classes, strays
    if classes[-1] == names:
        zero = (0,) if classes[0] == 0 else ()
        return tuple(range(1, names + 1)), zero + strays
    if classes[-1] < names:
        return tuple(range(names)), strays
    return (classes, strays) if len(classes) == names else None


def _how(better: tuple[tuple[int, ...], tuple[int, ...]] | None, values: Sequence[int]) -> str:
    """What the proposed values mean, in words."""
    if better is None:
        return "; declare config.data.mask_values, in class order"
    classes, ignored = better
    if classes == (0, STRAY):
        return "; the two are two classes, stored as black and white"
    if classes == tuple(range(1, len(classes) + 1)):
        return "; they count from 1" + (", and 0 is what is ignored" if 0 in ignored else "")
    if len(classes) < values[-1]:
        return "; the values are the classes, with gaps between them"
    return ""


def _own_names(asked: ConfigDict) -> tuple[str, ...]:
    """The names that the user gave, not those that `resolve` makes up."""
    names = tuple(asked.data.class_names)
    return () if all(re.fullmatch(r"class_\d+", name) for name in names) else names


def _words(asked: ConfigDict, **wanted: object) -> tuple[str, ...]:
    """Overrides for `config.data`; the encoding `ids` where another one was declared."""
    data: Mapping[str, object] = wanted
    if "encoding" not in wanted and asked.data.encoding not in (None, "ids"):
        data = {"encoding": "ids", **wanted}
    return override_words(asked, {f"data.{key}": value for key, value in data.items()})
