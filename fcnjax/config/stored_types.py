"""Checks of the types of a config that was read from JSON."""

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config import tuples
from fcnjax.config.key import TYPE_NAMES
from fcnjax.errors import UserError, unknown

LONGEST_TEXT = 4096  # characters; a path has as many at most
MOST_ENTRIES = 4096  # of a list
DEEPEST = 4  # lists within lists


def fill_section(section: ConfigDict, values: Any, where: str) -> None:
    """Set the keys of a section of a config to values from JSON.

    Args:
        section: A section of a default config; changed in place.
        values: The JSON object.
        where: The file and the section, for errors.

    Raises:
        UserError: The JSON is not an object, or has an unknown key, a value of the wrong type or a
            value that is too large: a number beyond 32 bits, a text or list beyond the limits
            above.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: is {_short(values)}; valid: an object")
    for key, value in values.items():
        if key not in section:
            raise unknown(where, key, section)
        name = f"{where}.{key}"
        if isinstance(section[key], ConfigDict):
            fill_section(section[key], value, name)
            continue
        kind = section.get_type(key)
        if value is None:
            if section[key] is not None:
                raise UserError(f"{name}: is null; valid: {TYPE_NAMES[kind]}")
            continue
        if isinstance(value, list):
            value = tuples(value)
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{name}: is {_short(value)}; valid: {TYPE_NAMES[kind]}")
        _check_size(value, name, DEEPEST)
        section[key] = float(value) if kind is float else value


def _check_size(value: Any, name: str, depth: int) -> None:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT or "\0" in value:
            raise UserError(
                f"{name}: {_short(value)} is no text of at most {LONGEST_TEXT} characters, none NUL"
            )
    elif isinstance(value, tuple):
        if len(value) > MOST_ENTRIES or not depth:
            raise UserError(
                f"{name}: is no list of at most {MOST_ENTRIES} entries, nested {DEEPEST} deep"
            )
        for entry in value:
            _check_size(entry, name, depth - 1)
    elif isinstance(value, int | float):
        # An integer may be too large to become a float.
        if not (-(2**31) <= value < 2**32 if isinstance(value, int) else math.isfinite(value)):
            raise UserError(f"{name}: {_short(value)} is out of range; valid: numbers of 32 bits")
    elif value is not None:
        raise UserError(f"{name}: has {_short(value)}; valid: numbers, texts and lists of them")


def _short(value: Any) -> str:
    return repr(value)[:60]
