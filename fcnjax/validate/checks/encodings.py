"""Tells how masks are encoded, and which lines of a config say so."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ml_collections import ConfigDict

from fcnjax.data.labels.channel_classes import MAX_UNSET_SHARE
from fcnjax.data.labels.class_names import are_default_names
from fcnjax.data.labels.classes import MAX_MASK_VALUES, find_classes, join_values
from fcnjax.data.labels.mask_set import MaskSet
from fcnjax.data.labels.masks import stored_values
from fcnjax.errors import UserError
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding, override_words, some
from fcnjax.validate.proposals import STRAYS, how, propose
from fcnjax.validate.stored import PEAK, RGB, StoredTally

NEAR = 48  # grey levels around a peak, in which what JPEG makes of it lies
SECOND = 0.05  # of the pixels: a value near black or white that has as many is no blend of it
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
    if stored.kinds["onehot"]:
        return findings + _channels(stored, asked, resolved)
    if not stored.sound:
        return findings
    if stored.alpha:
        return [*findings, _in_alpha(stored)]
    if stored.blended and len(stored.pixels) < 2:
        return findings  # empty masks, which tell nothing beside what was said
    data = resolved.data if resolved else _found_in(stored, asked)
    if stored.kinds["rgb"]:
        return findings + _colours(stored, asked, data)
    if _palettes_differ(stored):
        return findings + _by_palette_colour(stored, asked, data)
    if stored.numbers_objects and not _declared(stored, asked):
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
        find_classes(data, MaskSet(stored.sound, stored.images))
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
    if stored.has_ramps:
        text = (
            f"{len(stored.ramps)} of {stored.files} masks have, where distant ids meet, lines of "
            "the ids between, as 0 beside 4 gets when a mask is resized with interpolation: "
            f"{some(stored.ramps)}; write them again from the originals, resized by nearest "
            "neighbour"
        )
        return [Finding(WARNING, "blended masks", text)]
    if stored.lossy:
        text = (
            f"{len(stored.lossy)} masks are JPEG files, which change values along borders: "
            f"{some(stored.lossy)}; PNG keeps them"
        )
        return [Finding(WARNING, "JPEG masks", text)]
    return []


def _known(data: ConfigDict) -> set[int]:
    """The stored values that a class or the ignore label is made of."""
    classes = (value for entry in data.mask_values for value in stored_values(entry))
    return {*classes, *data.ignore_values, data.ignore_label}


def _in_alpha(stored: StoredTally) -> Finding:
    text = (
        f"{len(stored.alpha)} of {stored.files} masks have one colour, and shapes in their "
        f"transparency alone, which is not read: {some(stored.alpha)}; write that channel as the "
        "mask"
    )
    return Finding(ERROR, KIND, text)


def _declared(stored: StoredTally, asked: ConfigDict) -> bool:
    """Whether the user named more than two classes, and each value is one of them."""
    names = max(len(_own_names(asked)), len(asked.data.mask_values))
    return names > 2 and len(stored.pixels) <= names


def _halves(stored: StoredTally, asked: ConfigDict) -> tuple[str, ...]:
    """Each grey level as the nearer of two, where all but a few pixels are near one of two."""
    pixels = stored.blended_pixels + stored.pixels
    if not pixels or not all(isinstance(value, int) and 0 <= value < 256 for value in pixels):
        return ()
    low, high = min(pixels), max(pixels)
    if high - low < 2 * NEAR or _has_third(pixels) or len(_own_names(asked)) not in (0, 2):
        return ()
    middle = (low + high) // 2
    halves = (tuple(range(middle + 1)), tuple(range(middle + 1, 256)))
    return _words(asked, mask_values=halves)


def _has_third(pixels: Counter) -> bool:
    """Whether a value beside the lowest and the highest has so many pixels that it is a class."""
    low, high, total = min(pixels), max(pixels), pixels.total()
    between = [n for value, n in pixels.items() if low + NEAR <= value <= high - NEAR]
    if sum(between) > 0.2 * total or max(between, default=0) > PEAK * total:
        return True
    middle = (low + high) // 2
    lower = sorted(n for value, n in pixels.items() if value <= middle)
    upper = sorted(n for value, n in pixels.items() if value > middle)
    return any(half[-2] > SECOND * total for half in (lower, upper) if len(half) > 1)


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
    if stored.names_single:
        text += ", and most of them one mask alone, as colours drawn for each object do; "
        text += "write objects as numbers, for config.data.encoding=instances"
        return [Finding(WARNING, KIND, text)]
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
    if len(colours) > MAX_MASK_VALUES:
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
    elif names:
        text += "; config.data.mask_colours has to list them in the order of the names: "
        return [Finding(ERROR, KIND, text + ", ".join(map(str, colours)))]
    else:
        text += "; below in ascending order: put them in that of your classes"
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
        f"{min(stored.regions)} to {max(stored.regions)} of them"
    )
    if data is not None and data.encoding == "instances":
        return [Finding(NOTE, KIND, text)]
    words = _words(asked, encoding="instances", mask_values=(), ignore_values=())
    return [Finding(WARNING if data is not None else ERROR, KIND, text, words)]


def _values(stored: StoredTally, asked: ConfigDict, data: ConfigDict | None) -> list[Finding]:
    """Findings on masks that store a whole number for each class."""
    values = sorted(stored.pixels)
    what = f"{'palette masks' if stored.kinds['palette'] else 'masks'} hold {join_values(values)}"
    if values[0] < 0:
        return [_negative(stored, values, asked)]
    if len(values) < 2:
        text = f"the masks hold {values[0]} alone: one class, and nothing to tell it from"
        return [Finding(ERROR, KIND, text)]
    better = propose(values, len(_own_names(asked)), asked.data.ignore_label)
    words = _words(asked, mask_values=better[0], ignore_values=better[1]) if better else ()
    if data is None:
        text = f"{what}, which the config does not tell the classes of"
        return [Finding(ERROR, KIND, text + how(better, values), words)]
    classes = [stored_values(entry) for entry in data.mask_values]
    outside = [value for value in values if value not in _known(data)]
    seen = [entry for entry in classes if any(value in stored.pixels for value in entry)]
    if outside:
        return [_outside(stored, asked, outside, classes, seen)]
    if better and len(seen) < 2 and len(better[0]) > 1:
        text = f"{what}, and by the config only {len(seen)} of them is a class, the rest is ignored"
        return [Finding(ERROR, KIND, text + how(better, values), words)]
    if stored.mixes_white and classes == [(0,), (1,)]:
        text = (
            f"{stored.masks_with[1]} masks hold 1 and {stored.masks_with[255]} others 255, none "
            "both, as where masks of 0 and 1 are among those of black and white; 255 is ignored, "
            "and one class with 1 below"
        )
        return [Finding(WARNING, KIND, text, _words(asked, mask_values=(0, (1, 255))))]
    fits = better and set(better[0]) <= set(values) and len(better[0]) < len(classes)
    shifted = values[0] > 0 and classes[0] == (0,)
    if fits and (shifted or len(seen) < len(classes) / 2):
        text = f"{what}, and of the {len(classes)} classes only {len(seen)} are seen"
        return [Finding(WARNING, KIND, text + how(better, values), words)]
    pinned = tuple(entry[0] if len(entry) == 1 else entry for entry in classes)
    if data.label_map or asked.data.label_map:
        return [Finding(NOTE, KIND, what)]
    return [
        Finding(NOTE, KIND, f"{what}: {len(classes)} classes", _words(asked, mask_values=pinned))
    ]


def _channels(stored: StoredTally, asked: ConfigDict, resolved: ConfigDict | None) -> list[Finding]:
    """Findings on masks with a channel for each class: pixels that are in none of them."""
    if len(stored.channels) > 1:
        text = (
            f"the masks differ in their number of channels: {join_values(sorted(stored.channels))}"
        )
        return [Finding(ERROR, KIND, text)]
    (count,) = stored.channels
    share = stored.pixels[count] / max(stored.pixels.total(), 1)
    if not share:
        return []
    text = f"{share:.2%} of the pixels are in none of the {count} channels"
    if resolved is None:
        text += "; as a class of their own, the background, below; or ignore them by "
        text += f"config.data.ignore_values={count}"
        words = _words(asked, encoding="onehot", mask_values=(count, *range(count)))
        return [Finding(ERROR, "pixels in no channel", text, words)]
    if count in resolved.data.ignore_values:
        severity = WARNING if share >= MAX_UNSET_SHARE else NOTE
        text += ", and ignored; a model is free to give such pixels any class"
        return [Finding(severity, "pixels in no channel", text)]
    return [Finding(NOTE, "pixels in no channel", f"{text}: a class of their own")]


def _negative(stored: StoredTally, values: Sequence[int], asked: ConfigDict) -> Finding:
    low = [value for value in values if value < 0]
    text = (
        f"{max(stored.masks_with[value] for value in low)} of {stored.files} masks hold "
        f"{join_values(low)}, which is no class; ignored below"
    )
    ignored = (*asked.data.ignore_values, *low)
    severity = NOTE if {*low} <= {*asked.data.ignore_values} else ERROR
    words = _words(asked, ignore_values=tuple(dict.fromkeys(ignored)))
    return Finding(severity, "values outside the classes", text, words)


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
    text = f"{masks} of {stored.files} masks hold {join_values(outside)}, which is no class"
    # Beside classes that are seen, 255 or 65535 stands for no class, as in most sets; and who
    # declared the values of all classes, and has them, has some more, unless they count from 1.
    stray = len(outside) == 1 and outside[0] in STRAYS and len(seen) > 1
    declared = asked.data.mask_values and len(seen) == len(classes) and values[-1] != len(classes)
    names = len(_own_names(asked)) or len(asked.data.mask_values)
    better = propose(values, names, asked.data.ignore_label)
    if better and not stray and not declared:
        words = _words(asked, mask_values=better[0], ignore_values=better[1])
        return Finding(ERROR, kind, text + how(better, values), words)
    words = _words(asked, ignore_values=(*asked.data.ignore_values, *outside))
    return Finding(ERROR, kind, f"{text} ({share:.2%} of the pixels); ignored below", words)


def _own_names(asked: ConfigDict) -> tuple[str, ...]:
    """The names that the user gave, not those that `resolve` makes up."""
    names = tuple(asked.data.class_names)
    return () if are_default_names(names) else names


def _words(asked: ConfigDict, **wanted: object) -> tuple[str, ...]:
    """Overrides for `config.data`; the encoding `ids` where another one was declared."""
    data: Mapping[str, object] = wanted
    if "encoding" not in wanted and asked.data.encoding not in (None, "ids"):
        data = {"encoding": "ids", **wanted}
    return override_words(asked, {f"data.{key}": value for key, value in data.items()})
