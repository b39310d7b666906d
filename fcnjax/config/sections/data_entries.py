"""Valid entries of the lists in `config.data`."""

from collections.abc import Callable
from typing import Any

from fcnjax.config.key import Valid, each, is_number

LONGEST_NAME = 1000  # bytes of a file name: three of them and a file's name make a path


def _is_path(name: str) -> bool:
    return "\0" not in name and len(name.encode(errors="replace")) <= LONGEST_NAME


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_stored_value(entry: Any) -> bool:
    entries = entry if isinstance(entry, list | tuple) else (entry,)
    return bool(entries) and all(isinstance(value, int) and value >= 0 for value in entries)


def _is_colour(entry: Any) -> bool:
    is_triple = isinstance(entry, list | tuple) and len(entry) == 3
    return is_triple and all(isinstance(part, int) and 0 <= part <= 255 for part in entry)


def _pairs(is_second: Callable[[Any], bool], text: str) -> Valid:
    def contains(entry: Any) -> bool:
        is_pair = isinstance(entry, list | tuple) and len(entry) == 2
        return is_pair and _is_text(entry[0]) and is_second(entry[1])

    return each(contains, text)


PATH = Valid(_is_path, f"a file name of at most {LONGEST_NAME} bytes, none of them NUL")
TEXTS = each(_is_text, "texts")
NUMBERS = each(is_number, "numbers")
COLOURS = each(_is_colour, "RGB triples in 0..255, as (128,0,0)")
STORED_VALUES = each(_is_stored_value, "whole numbers from 0 on, or several of them as a tuple")
IGNORED_VALUES = each(lambda value: isinstance(value, int), "whole numbers, as 0 or -1")
RENAMED_CLASSES = _pairs(_is_text, "pairs of a class and its new name")
CLASS_PAIRS = _pairs(_is_text, "pairs of two classes")
WEIGHTED_CONFIGS = _pairs(is_number, "pairs of a config and its weight")
