"""Class names from configs, annotations and files: normalisation and checks."""

import re
import shlex
import unicodedata
from collections.abc import Collection, Sequence

from ml_collections import ConfigDict

from fcnjax.errors import UserError, printable

BACKGROUND = "background"
MAX_CLASSES = 10_000
MAX_CHARACTERS = 200  # of a class name
_INVISIBLE = "\ufeff\u200b\u2060"  # byte order mark, zero-width space, word joiner
_DEFAULT = re.compile(r"class_\d+|rgb_\d+_\d+_\d+")


def clean_name(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), with single spaces and none at its ends.

    Control characters are escaped, since names are printed on terminals and in reports.
    """
    text = unicodedata.normalize("NFC", name.strip(_INVISIBLE))
    return printable(" ".join(text.split()))


def class_name(name: str) -> str:
    """Return the class name for a name in an annotation; LabelMe's `_background_` is background."""
    name = clean_name(name)
    return BACKGROUND if name == f"_{BACKGROUND}_" else name


def class_key(name: str) -> str:
    """Return the name by which classes of two datasets are compared.

    It has no case, spaces, `_` and `-`.
    """
    return "".join(clean_name(name).casefold().replace("_", " ").replace("-", " ").split())


def check_names(names: Collection[str], where: object) -> None:
    """Check that class names from a file are usable.

    Args:
        names: As `class_name` returns them.
        where: The file, for the error.

    Raises:
        UserError: There are more than `MAX_CLASSES`, or a name is empty or longer than
            `MAX_CHARACTERS`.
    """
    if len(names) > MAX_CLASSES:
        raise UserError(f"{where}: has {len(names)} classes; valid: at most {MAX_CLASSES}")
    for name in names:
        if not name:
            raise UserError(f"{where}: a class has an empty name")
        if len(name) > MAX_CHARACTERS:
            raise UserError(
                f"{where}: the class name {name[:20]!r}... has {len(name)} characters; valid: at "
                f"most {MAX_CHARACTERS}"
            )


def are_default_names(names: Sequence[str]) -> bool:
    """Return whether all names are defaults of unnamed classes."""
    return all(_DEFAULT.fullmatch(name) for name in names)


def colour_name(colour: Sequence[int]) -> str:
    """Return the default name of a class with a known colour, such as `rgb_250_50_83`."""
    return "rgb_" + "_".join(map(str, colour))


def clean_config_names(data: ConfigDict) -> None:
    """Normalise the class names in `config.data`."""
    data.class_names = tuple(map(clean_name, data.class_names))
    labels = data.labels
    labels.mask_names = tuple(map(clean_name, labels.mask_names))
    for key in ("label_map", "mirror_pairs"):
        labels[key] = tuple(tuple(map(clean_name, pair)) for pair in labels[key])


def refuse_similar_names(names: Sequence[str]) -> None:
    """Refuse names that differ only in case, such as `cat` and `Cat`.

    Raises:
        UserError: There are such names; the error shows a label map that merges them.
    """
    first: dict[str, str] = {}
    merged = []
    for name in names:
        first_name = first.setdefault(name.casefold(), name)
        if first_name != name:
            merged.append((name, first_name))
    if merged:
        name, first_name = merged[0]
        pairs = shlex.quote("(" + "".join(f'("{old}","{new}"),' for old, new in merged) + ")")
        raise UserError(
            f"config.data.class_names: {first_name!r} and {name!r} differ only in case; "
            f"--config.data.labels.label_map={pairs} merges them, and can rename one instead"
        )
