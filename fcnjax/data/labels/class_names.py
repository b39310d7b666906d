"""Class names from a config, an annotation or a file: written in one form, and compared."""

import re
import shlex
import unicodedata
from collections.abc import Collection, Sequence

from ml_collections import ConfigDict

from fcnjax.errors import UserError, printable

BACKGROUND = "background"
MOST_CLASSES = 10_000
MOST_CHARACTERS = 200  # of a class name
_INVISIBLE = "\ufeff\u200b\u2060"  # byte order mark, zero-width space, word joiner
_MADE_UP = re.compile(r"class_\d+|rgb_\d+_\d+_\d+")


def clean_name(name: str) -> str:
    """A name in Unicode's composed form (NFC), with single spaces and none at its ends.

    Control characters are escaped: names are printed on terminals and written into reports.
    """
    text = unicodedata.normalize("NFC", name.strip(_INVISIBLE))
    return printable(" ".join(text.split()))


def class_name(name: str) -> str:
    """The name of a class, given one in an annotation; LabelMe's `_background_` has two names."""
    name = clean_name(name)
    return BACKGROUND if name == f"_{BACKGROUND}_" else name


def check_names(names: Collection[str], where: object) -> None:
    """Check that class names from a file are usable.

    Args:
        names: As `class_name` returns them.
        where: The file, for the error.

    Raises:
        UserError: There are more than `MOST_CLASSES`, or one is empty or longer than
            `MOST_CHARACTERS`.
    """
    if len(names) > MOST_CLASSES:
        raise UserError(f"{where}: has {len(names)} classes; valid: at most {MOST_CLASSES}")
    for name in names:
        if not name:
            raise UserError(f"{where}: a class has an empty name")
        if len(name) > MOST_CHARACTERS:
            raise UserError(
                f"{where}: the class name {name[:20]!r}... has {len(name)} characters; valid: at "
                f"most {MOST_CHARACTERS}"
            )


def is_made_up(names: Sequence[str]) -> bool:
    """Return whether all names are those that classes without names get."""
    return all(_MADE_UP.fullmatch(name) for name in names)


def name_of_colour(colour: Sequence[int]) -> str:
    """The name of a class of which the colour alone is known, as `rgb_250_50_83`."""
    return "rgb_" + "_".join(map(str, colour))


def clean_config_names(data: ConfigDict) -> None:
    """Writes the class names of `config.data` in the one form, wherever it has them."""
    data.class_names = tuple(map(clean_name, data.class_names))
    labels = data.labels
    labels.mask_names = tuple(map(clean_name, labels.mask_names))
    for key in ("label_map", "mirror_pairs"):
        labels[key] = tuple(tuple(map(clean_name, pair)) for pair in labels[key])


def refuse_similar_names(names: Sequence[str]) -> None:
    """Refuses names that differ only in case, such as `cat` and `Cat`.

    Raises:
        UserError: There are such; shows the label map that merges them.
    """
    first: dict[str, str] = {}
    merged = []
    for name in names:
        kept = first.setdefault(name.casefold(), name)
        if kept != name:
            merged.append((name, kept))
    if merged:
        name, kept = merged[0]
        pairs = shlex.quote("(" + "".join(f'("{old}","{new}"),' for old, new in merged) + ")")
        raise UserError(
            f"config.data.class_names: {kept!r} and {name!r} differ only in case; "
            f"--config.data.labels.label_map={pairs} merges them, and can rename one instead"
        )
