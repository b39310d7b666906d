"""Errors that are the user's to mend: one line, no traceback, exit code 2."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from fcnjax.printable import one_line

T = TypeVar("T")
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
