"""A key of a config: its default, its meaning and its valid values."""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list",
}


class Scope(enum.Flag):
    """The properties of a key: what it belongs to, and when it may change."""

    NONE = 0
    RESUME = enum.auto()  # may differ when a run is resumed
    EVALUATE = enum.auto()  # may be given to `fcnjax evaluate`
    SPLIT = enum.auto()  # decides which images are held out
    PLACE = enum.auto()  # says where the data are: a run may be resumed on a copy of them
    MACHINE = enum.auto()  # belongs to the machine that trained, and is not published
    MACHINE_IF_PATH = enum.auto()  # the same, unless the value is a plain name
    NOT_DECODED = enum.auto()  # does not change decoded images and labels


@dataclass(frozen=True)
class Valid:
    """The valid values of a key.

    Attributes:
        contains: Returns whether a value is valid.
        text: The valid values in words, as they follow "is not".
        choices: The valid names, where there are few.
        each: Whether `contains` is about each entry of a list, and not about the whole value.
    """

    contains: Callable[[Any], bool]
    text: str
    choices: tuple[str, ...] = ()
    each: bool = False


@dataclass(frozen=True)
class Key:
    """A key of a config.

    Attributes:
        default: The default; None leaves the choice to the code that reads the key.
        meaning: What it does, in a sentence or two.
        valid: The valid values; None where the type alone decides, or the code that reads the key.
        kind: The type of the value, where the default is None.
        used_by: The sources, encoders, decoders, losses or schedules that read it; () for all.
        scope: When it may change, and what it belongs to.
    """

    default: Any
    meaning: str
    valid: Valid | None = None
    kind: type | None = None
    used_by: tuple[str, ...] = ()
    scope: Scope = Scope.NONE

    @property
    def value_type(self) -> type:
        """The type of the value."""
        return self.kind or type(self.default)


def within(low: float, high: float) -> Valid:
    """Numbers from `low` to `high`, both included."""
    return Valid(lambda value: low <= value <= high, f"in {low}..{high}")


def at_least(low: float) -> Valid:
    """Finite numbers from `low` on."""
    return Valid(lambda value: low <= value < math.inf, f"a number of {low} or more")


def above(low: float, high: float = math.inf) -> Valid:
    """Finite numbers greater than `low`, up to and including `high`."""
    text = f"a number above {low}" + ("" if high == math.inf else f", and at most {high}")
    return Valid(lambda value: low < value <= high and value < math.inf, text)


def below(high: float, low: float = 0) -> Valid:
    """Numbers from `low` on that are less than `high`."""
    return Valid(lambda value: low <= value < high, f"a number from {low} to below {high}")


def one_of(*choices: str) -> Valid:
    """Some names."""
    names = ", ".join(name or '""' for name in choices)
    return Valid(lambda value: value in choices, f"one of {names}", choices)


def each(contains: Callable[[Any], bool], text: str) -> Valid:
    """Lists whose every entry is valid."""
    return Valid(contains, text, each=True)


def numbers(
    contains: Callable[[Sequence[float]], bool], text: str, kind: type | tuple = (int, float)
) -> Valid:
    """Lists of finite numbers that satisfy a condition."""

    def check(value: Sequence[Any]) -> bool:
        return all(is_number(entry, kind) for entry in value) and contains(value)

    return Valid(check, text)


def is_number(value: Any, kind: type | tuple = (int, float)) -> bool:
    """Return whether a value is a finite number of a type, and no bool."""
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
