"""Errors caused by user input: one line, no traceback, exit code 2."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
MAX_CHARACTERS = 2000  # of a message
_ENDING = 400  # characters kept of the end of a long message, which lists the valid values

# Control characters (terminal escape sequences begin with one), line separators, marks that reverse
# the direction of text, and lone surrogates, which cannot be encoded.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MAX_COMPARED = 1000  # names among which the nearest one is searched
_MAX_LENGTH = 100  # of such a name; comparing two takes more than linear time


class UserError(Exception):
    """An error in the user's input; its message names the file or key, and what is valid.

    The message is one printable line, even if it quotes text from a file.
    """

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


def unknown(what: str, name: str, valid: Iterable[str]) -> UserError:
    """Return the error for an invalid name, which suggests the nearest valid one.

    Args:
        what: The key or argument, such as `config.model.encoder`.
        name: Its value.
        valid: The valid names.
    """
    valid = sorted(valid)
    return UserError(f"{what}: unknown {name!r}{suggest(name, valid)}; valid: {', '.join(valid)}")


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return ` (did you mean 'NAME'?)` with the valid name nearest to an invalid one, or ""."""
    names = [other for other in sorted(valid)[:_MAX_COMPARED] if len(other) <= _MAX_LENGTH]
    near = difflib.get_close_matches(name[:_MAX_LENGTH], names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Return `table[name]`.

    Raises:
        UserError: The table has no such name; the message begins with `what` and lists the names.
    """
    if name not in table:
        raise unknown(what, name, table)
    return table[name]


def join_names(names: Iterable[object], count: int = 3) -> str:
    """Join names in a line: the first `count` of many, and the number of the others."""
    names = list(map(str, names))
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def printable(text: str) -> str:
    """Replace characters that must not reach a terminal by their Python escapes."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return a message as one printable line, cut to `MAX_CHARACTERS`."""
    return _cut(printable(_cut(text)))  # escapes may make it longer


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    gap = " ... "
    return f"{text[: MAX_CHARACTERS - len(gap) - _ENDING]}{gap}{text[-_ENDING:]}"
