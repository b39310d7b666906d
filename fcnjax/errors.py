"""Errors that are the user's to mend: one line, no traceback, exit code 2."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
MOST_CHARACTERS = 2000  # of a message
_ENDING = 400  # characters of a long message's end that are kept: it lists the valid values

# Control characters (escape sequences of a terminal begin with one), line separators, marks that
# reverse the direction of text, and lone surrogates, which no encoding has.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_COMPARED = 1000  # names, among which the nearest one is looked for
_MOST_CHARACTERS = 100  # of such a name: the time to compare two grows faster than their lengths


class UserError(Exception):
    """A mistake in what the user gave: its message names the file or key and what is valid.

    The message is one printable line, whatever text from a file is in it.
    """

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


def unknown(what: str, given: str, valid: Iterable[str]) -> UserError:
    """The error for a name that is not among `valid`; suggests the nearest one.

    Args:
        what: What the name stands for, such as `config.model.encoder`.
        given: The name that was given.
        valid: The names that would have been right.
    """
    valid = sorted(valid)
    names = [name for name in valid[:_MOST_COMPARED] if len(name) <= _MOST_CHARACTERS]
    near = difflib.get_close_matches(given[:_MOST_CHARACTERS], names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"{what}: unknown {given!r}{hint}; valid: {', '.join(valid)}")


def choose(table: Mapping[str, T], given: str, what: str) -> T:
    """Returns `table[given]`.

    Raises:
        UserError: `given` is not in the table; names `what` and the valid names.
    """
    if given not in table:
        raise unknown(what, given, table)
    return table[given]


def printable(text: str) -> str:
    """Replace characters that must not reach a terminal by Python's escapes of them."""
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match) -> str:
    return found[0].encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """Return a message as one printable line of at most `MOST_CHARACTERS`; a longer one is cut."""
    return _cut(printable(_cut(text)))  # escapes make it longer


def _cut(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    gap = " ... "
    return f"{text[: MOST_CHARACTERS - len(gap) - _ENDING]}{gap}{text[-_ENDING:]}"
