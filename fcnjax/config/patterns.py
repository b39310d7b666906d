"""Regular expressions from outside: those that may match for ever are refused.

Python's engine goes back over all ways to match: `(a+)+b` takes 2^n steps for a name of n letters.
"""

import re
from collections.abc import Iterable
from re import _parser as parser
from typing import Any

from fcnjax.errors import UserError

LONGEST_PATTERN = 500  # characters
MOST_REPEATS = 4  # of unknown number: n^4 steps at most for a name of n letters
_MANY = 16  # a repetition up to this number is not counted


def check_pattern(pattern: str, key: str) -> None:
    """Checks a regular expression that a stranger may have written.

    Args:
        pattern: The regular expression.
        key: The key of the config that has it, for errors.

    Raises:
        UserError: It is none, is too long, repeats what has repeats, or has too many of them.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise UserError(f"{key}: has {len(pattern)} characters; at most {LONGEST_PATTERN}")
    try:
        re.compile(pattern)
        count, nested = _repeats(parser.parse(pattern), inside=False)
    # The others are of a repetition beyond 32 bits and of thousands of brackets.
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{key}: {pattern!r} is no regular expression: {error}") from error
    if nested or count > MOST_REPEATS:
        raise UserError(
            f"{key}: {pattern!r} may take for ever; valid: at most {MOST_REPEATS} repetitions, "
            "none within another"
        )


def _repeats(items: Iterable[tuple[Any, Any]], inside: bool) -> tuple[int, bool]:
    """The number of repetitions of a parsed pattern, and whether one is within another."""
    count, nested = 0, False
    for name, argument in items:
        many = "REPEAT" in str(name) and argument[1] > _MANY
        nested |= many and inside
        count += many
        for part in _parts(argument):
            more, deeper = _repeats(part, inside or many)
            count, nested = count + more, nested or deeper
    return count, nested


def _parts(argument: Any) -> Iterable[Any]:
    """The patterns within the argument of an operation: of a group, a choice or a repetition."""
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from _parts(item)
