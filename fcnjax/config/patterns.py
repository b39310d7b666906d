"""Checks of regular expressions from untrusted configs.

Python's engine backtracks: `(a+)+b` takes 2^n steps for a name of n letters.
"""

import re
from collections.abc import Iterable
from re import _parser as parser
from typing import Any

from fcnjax.errors import UserError

LONGEST_PATTERN = 500  # characters
MOST_REPEATS = 4  # without a bound: at most n^4 steps for a name of n letters
_MANY = 16  # repetitions up to this number are not counted


def check_pattern(pattern: str, key: str) -> None:
    """Check a regular expression that may be from an untrusted source.

    Args:
        pattern: The regular expression.
        key: The key of the config, for errors.

    Raises:
        UserError: It is not valid, is too long, or has nested or too many repetitions.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise UserError(f"{key}: has {len(pattern)} characters; at most {LONGEST_PATTERN}")
    try:
        re.compile(pattern)
        count, nested = _repeats(parser.parse(pattern), inside=False)
    # Overflow: a repetition beyond 32 bits. Recursion: thousands of brackets.
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{key}: {pattern!r} is not a regular expression: {error}") from error
    if nested or count > MOST_REPEATS:
        raise UserError(
            f"{key}: {pattern!r} may take unbounded time; valid: at most {MOST_REPEATS} "
            "repetitions, none within another"
        )


def _repeats(items: Iterable[tuple[Any, Any]], inside: bool) -> tuple[int, bool]:
    """Count the repetitions of a parsed pattern, and find out whether any are nested."""
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
    """Yield the patterns within the argument of a group, a choice or a repetition."""
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from _parts(item)
